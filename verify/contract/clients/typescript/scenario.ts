// Walks through the life of a webhook with the client that openapi-typescript
// types, and prints what it sees: the scenario of docs/contract.md.

import createClient from 'openapi-fetch';
import type { components, paths } from './schema.js';

type Problem = components['schemas']['Problem'];

const env = (name: string): string => process.env[name] ?? '';
const first = `${env('RECAPITO_CALLBACK')}/first`;
const second = `${env('RECAPITO_CALLBACK')}/second`;
const webhook = '/webhooks/delivery-status';

// The listings can be lines as well, which are not read here.
type Media = 'application/json' | 'application/problem+json';

const connect = (key: string) =>
  createClient<paths, Media>({ baseUrl: env('RECAPITO_URL'), headers: { 'X-API-Key': key } });

/** What an answer brought, or the problem that it brought instead. */
function must<T>(answer: { data?: T; error?: Problem }): T {
  if (answer.data === undefined) throw new Error(answer.error?.detail);
  return answer.data;
}

const account = connect(env('RECAPITO_API_KEY'));

const created = await account.POST(webhook, { body: { callbackUrl: first } });
const { id, status, callbackUrl, signingSecret } = must(created);
console.log('register:', created.response.status, status, callbackUrl === first);

const read = await account.GET(webhook);
console.log('read:', read.response.status, must(read).status, must(read).id === id);

const conflict = await account.POST(webhook, { body: { callbackUrl: second } });
console.log('conflict:', conflict.response.status, conflict.error?.title);

const replaced = await account.PUT(webhook, { body: { callbackUrl: second } });
console.log('replace:', replaced.response.status, must(replaced).callbackUrl === second);

const refused = await account.PUT(webhook, { body: { callbackUrl: 'https://10.0.0.1/' } });
console.log('bad URL:', refused.response.status, refused.error?.errors?.[0]?.pointer);

const rotated = await account.POST('/webhooks/delivery-status/signing-secret');
console.log('rotate:', rotated.response.status, must(rotated).signingSecret !== signingSecret);

const test = await account.POST('/webhooks/delivery-status/test-event', { body: { sample: 'RCS_READ' } });
const { verdict, payload: sent, attempt } = must(test);
console.log('test:', test.response.status, verdict, sent.eventType, attempt.statusCode);

const list = await account.GET('/webhooks/delivery-status/deliveries', {
  params: { query: { state: ['DELIVERED'] } },
});
const deliveries = must(list).deliveries;
const newest = deliveries[0];
if (newest === undefined) throw new Error('no deliveries');
console.log('list:', list.response.status, deliveries.length, newest.eventId, newest.state);

const detail = await account.GET('/webhooks/delivery-status/deliveries/{eventId}', {
  params: { path: { eventId: newest.eventId } },
});
const { payload, attempts } = must(detail);
console.log('delivery:', detail.response.status, payload?.status, attempts[0]?.statusCode);

const tried = await account.GET('/webhooks/delivery-status/attempts', {
  params: { query: { outcome: 'ACKNOWLEDGED' } },
});
const made = must(tried).attempts;
console.log('attempts:', tried.response.status, made.length, made[0]?.eventId, made[0]?.statusCode);

const feed = await account.GET('/webhooks/delivery-status/events', { params: { query: { limit: 10 } } });
const { events, nextCursor } = must(feed);
const rest = await account.GET('/webhooks/delivery-status/events', { params: { query: { after: nextCursor } } });
console.log('events:', feed.response.status, events.length, events[0]?.eventId, events[0]?.payload?.status, must(rest).events.length === 0);

const deleted = await account.DELETE(webhook);
const gone = await account.GET(webhook);
console.log('delete:', deleted.response.status, gone.response.status, gone.error?.title);

const unauthorized = await connect('wrong').GET(webhook);
console.log('wrong key:', unauthorized.response.status, unauthorized.error?.detail);
