// Uses everything the server offers with the TypeScript SDK of the generation before, which most hosts have built in. It knows
// the older era only.
//
// Usage: node older.mjs URL legacy    (the server is the fixture's, with an open change `unfinished`)

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  ElicitRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';

import { endSession, fill, tour } from './tour.mjs';

const [url] = process.argv.slice(2);
// `callTool` of this generation takes the schema of its result before its options.
const heard = { logged: [], asked: [], told: [], options: (options) => [undefined, options] };
const client = new Client({ name: 'task-mcp-node-client', version: '1.0.0' }, { capabilities: { elicitation: {} } });
client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
  heard.asked.push(params.message);
  return { action: 'accept', content: fill(params.requestedSchema) };
});
client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => heard.logged.push(params.data));
client.setNotificationHandler(ToolListChangedNotificationSchema, () => heard.told.push('tools'));
client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => heard.told.push(params.uri));

const transport = new StreamableHTTPClientTransport(new URL(url));
let protocolVersion;
const remember = transport.setProtocolVersion.bind(transport);
transport.setProtocolVersion = (version) => remember((protocolVersion = version));
await client.connect(transport);

async function listen(uri) {
  await client.subscribeResource({ uri });
  return () => client.unsubscribeResource({ uri });
}

await tour(client, { modern: false, heard, listen });
await client.ping();
await endSession(url, transport);
await client.close();
console.log(JSON.stringify({ protocolVersion }));
