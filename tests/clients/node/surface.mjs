// Uses everything the server offers with the official TypeScript SDK.
//
// Usage: node surface.mjs URL MODE    (MODE: legacy, 2026-07-28 or auto; the server is the fixture's, with an open change
// `unfinished`)

import assert from 'node:assert/strict';

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { endSession, fill, tour } from './tour.mjs';

const [url, mode] = process.argv.slice(2);
const negotiation = {
  legacy: {},
  auto: { versionNegotiation: { mode: 'auto' } },
  '2026-07-28': { versionNegotiation: { mode: { pin: '2026-07-28' } } },
};

const heard = { logged: [], asked: [], told: [], options: (options) => [options] };
const options = { ...negotiation[mode], capabilities: { elicitation: {} } };
const client = new Client({ name: 'task-mcp-node-client', version: '1.0.0' }, options);
client.setRequestHandler('elicitation/create', async ({ params }) => {
  heard.asked.push(params.message);
  return { action: 'accept', content: fill(params.requestedSchema) };
});
client.setNotificationHandler('notifications/message', ({ params }) => heard.logged.push(params.data));
client.setNotificationHandler('notifications/tools/list_changed', () => heard.told.push('tools'));
client.setNotificationHandler('notifications/resources/updated', ({ params }) => heard.told.push(params.uri));
client.onerror = (error) => assert.fail(error);

const transport = new StreamableHTTPClientTransport(new URL(url));
await client.connect(transport);
const protocolVersion = client.getNegotiatedProtocolVersion();
const modern = protocolVersion === '2026-07-28';

async function listen(uri) {
  if (modern) {
    const subscription = await client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] });
    return () => subscription.close();
  }
  await client.subscribeResource({ uri });
  return () => client.unsubscribeResource({ uri });
}

await tour(client, { modern, heard, listen });
if (!modern) await endSession(url, transport);
client.onerror = undefined;
await client.close();
console.log(JSON.stringify({ protocolVersion }));
