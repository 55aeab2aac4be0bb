// Receives callbacks over TLS and verifies each with the official Standard
// Webhooks library: the receiver of verify/contract/README.md.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { Webhook } from 'standardwebhooks';

const { CERT, KEY, SECRETS } = process.env;

const verifies = (secret, body, headers) => {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch {
    return false;
  }
};

// Prints the event's id and, for each secret, whether it verifies the callback
// and refuses it with a byte more.
const server = createServer({ cert: readFileSync(CERT), key: readFileSync(KEY) }, async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const line = [request.headers['webhook-id']];
  for (const secret of readFileSync(SECRETS, 'utf8').split(/\s+/).filter(Boolean)) {
    line.push(verifies(secret, body, request.headers), verifies(secret, `${body} `, request.headers));
  }
  response.writeHead(204).end();
  console.log(line.join(' '));
});
server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
