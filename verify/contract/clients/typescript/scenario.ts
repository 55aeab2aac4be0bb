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

const connect = (headers: Record<string, string>) => createClient<paths, Media>({ baseUrl: env('RECAPITO_URL'), headers });

/** What an answer brought, or the problem that it brought instead. */
function must<T>(answer: { data?: T; error?: Problem }): T {
  if (answer.data === undefined) throw new Error(answer.error?.detail);
  return answer.data;
}

/** Asks until it is so, for a minute at most. */
async function wait(so: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await so())) {
    if (Date.now() > deadline) throw new Error('waited for a minute in vain');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const account = connect({ 'X-API-Key': env('RECAPITO_API_KEY') });

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
console.log('attempts:', tried.response.status, made[0]?.eventId, made[0]?.statusCode);

const feed = await account.GET('/webhooks/delivery-status/events', { params: { query: { limit: 10 } } });
const { events, nextCursor } = must(feed);
const rest = await account.GET('/webhooks/delivery-status/events', { params: { query: { after: nextCursor } } });
console.log('events:', feed.response.status, events.length, events[0]?.eventId, events[0]?.payload?.status, must(rest).events.length === 0);

const sources = await account.GET('/webhooks/delivery-status/sources');
console.log('sources:', sources.response.status, must(sources).stated, must(sources).networks.length);

const health = await account.GET('/webhooks/delivery-status/health');
console.log('health:', health.response.status, must(health).state, must(health).pending);

const changes = await account.GET('/webhooks/delivery-status/health/changes');
console.log('changes:', changes.response.status, must(changes).changes.length);

const minutes = await account.GET('/webhooks/delivery-status/health/minutes');
console.log('minutes:', minutes.response.status, must(minutes).minutes.length > 0);

const probe = await account.POST('/webhooks/delivery-status/probe');
console.log('probe:', probe.response.status, probe.error?.title);

const path = { eventId: newest.eventId };
const again = await account.POST('/webhooks/delivery-status/deliveries/{eventId}/replay', { params: { path } });
console.log('send again:', again.response.status, must(again).eventId, must(again).state);
await wait(async () => {
  const d = await account.GET('/webhooks/delivery-status/deliveries/{eventId}', { params: { path } });
  return must(d).state === 'DELIVERED';
});

const started = await account.POST('/webhooks/delivery-status/replays', { body: { state: ['DELIVERED'] } });
const replay = { params: { path: { replayId: must(started).id } } };
const readReplay = async () => must(await account.GET('/webhooks/delivery-status/replays/{replayId}', replay));
await wait(async () => (await readReplay()).endedAt !== null);
const ended = await readReplay();
console.log('replay:', started.response.status, ended.state, ended.matched, ended.sentAgain, ended.remaining);

const replays = await account.GET('/webhooks/delivery-status/replays');
const stopped = await account.DELETE('/webhooks/delivery-status/replays/{replayId}', replay);
console.log('replays:', replays.response.status, must(replays).replays.length > 0, must(stopped).state);

const platform = connect({ Authorization: `Bearer ${env('RECAPITO_PLATFORM_KEY')}` });

const ranked = await platform.GET('/accounts', { params: { query: { state: ['HEALTHY'] } } });
const worst = must(ranked).accounts[0];
console.log('accounts:', ranked.response.status, worst?.id, worst?.state, worst?.pending);

const begun = await platform.POST('/replays', { body: { accountIds: ['acc'], filters: { state: ['FAILED'] } } });
const several = { params: { path: { replayId: must(begun).id } } };
const readSeveral = async () => must(await platform.GET('/replays/{replayId}', several));
await wait(async () => (await readSeveral()).endedAt !== null);
const done = await readSeveral();
console.log('replay of several:', begun.response.status, done.state, done.accounts.begun);

const all = await platform.GET('/replays');
const halted = await platform.DELETE('/replays/{replayId}', several);
console.log('replays of several:', all.response.status, must(all).replays.length > 0, must(halted).state);

const newAccount = { params: { path: { accountId: 'acc_new' } } };
const provisioned = await platform.PUT('/accounts/{accountId}', newAccount);
const found = await platform.GET('/accounts/{accountId}', newAccount);
console.log('account:', provisioned.response.status, found.response.status, must(found).id);

const key = await platform.POST('/accounts/{accountId}/api-keys', newAccount);
const keys = await platform.GET('/accounts/{accountId}/api-keys', newAccount);
console.log('keys:', key.response.status, keys.response.status, must(keys).apiKeys[0]?.id === must(key).id);

const link = await platform.POST('/accounts/{accountId}/console-links', { ...newAccount, body: { minutes: 5 } });
console.log('console:', link.response.status, must(link).path.startsWith('/console#'));

const newcomer = connect({ 'X-API-Key': must(key).key ?? '' });
must(await newcomer.POST(webhook, { body: { callbackUrl: first } }));
const news = { id: 'evt_new', accountId: 'acc_new', messageId: 'm-new', destination: '+393401234567', timestamp: new Date().toISOString() };
const handed = await platform.POST('/events', { body: { events: [{ ...news, channel: 'SMS', status: 'DELIVERED' }] } });
console.log('hand in:', handed.response.status, must(handed).accepted, must(handed).skipped.length);

const revoked = await platform.DELETE('/accounts/{accountId}/api-keys/{keyId}', {
  params: { path: { ...newAccount.params.path, keyId: must(key).id } },
});
console.log('revoke:', revoked.response.status, (await newcomer.GET(webhook)).response.status);

const erased = await platform.DELETE('/accounts/{accountId}', newAccount);
console.log('erase:', erased.response.status);

const state = await platform.GET('/status');
console.log('status:', state.response.status, must(state).attempting);

const own = await platform.POST('/webhooks/operations', { body: { callbackUrl: first } });
const ownRead = await platform.GET('/webhooks/operations');
console.log('platform:', own.response.status, must(own).status, must(ownRead).id === must(own).id);

const ownReplaced = await platform.PUT('/webhooks/operations', { body: { callbackUrl: second } });
const ownRotated = await platform.POST('/webhooks/operations/signing-secret');
console.log("platform's own:", ownReplaced.response.status, ownRotated.response.status, must(ownRotated).signingSecret !== must(own).signingSecret);

const deleted = await account.DELETE(webhook);
const gone = await account.GET(webhook);
console.log('delete:', deleted.response.status, gone.response.status, gone.error?.title);

const told = await platform.GET('/webhooks/operations/deliveries', { params: { query: { accountId: 'acc' } } });
const event = must(told).deliveries[0]?.payload;
const removed = await platform.DELETE('/webhooks/operations');
console.log('told:', told.response.status, event?.eventType, event?.accountId, removed.response.status);

const unauthorized = await connect({ 'X-API-Key': 'wrong' }).GET(webhook);
console.log('wrong key:', unauthorized.response.status, unauthorized.error?.detail);
