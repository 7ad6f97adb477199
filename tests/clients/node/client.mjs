// Drives a running task-mcp with the official TypeScript SDK.
//
// Usage: node client.mjs URL MODE    (MODE: legacy, 2026-07-28 or auto)
//
// Lists the tools, opens and shows the change `from-a-client`, archives the change `prepared`, and prints one JSON
// object about the connection. Exits with 1 and a message at the first thing that is not as promised.

import assert from 'node:assert/strict';

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const [url, mode] = process.argv.slice(2);

/** How the SDK chooses the era; without an option it speaks the older one. */
const negotiation = {
  legacy: {},
  auto: { versionNegotiation: { mode: 'auto' } },
  '2026-07-28': { versionNegotiation: { mode: { pin: '2026-07-28' } } },
};

const client = new Client({ name: 'task-mcp-node-client', version: '1.0.0' }, negotiation[mode]);

async function call(tool, input) {
  const result = await client.callTool({ name: tool, arguments: input });
  assert.ok(!result.isError, `${tool}: ${JSON.stringify(result)}`);
  assert.equal(typeof result.structuredContent, 'object', `${tool}: ${JSON.stringify(result)}`);
  return result.structuredContent;
}

async function active() {
  const page = await call('changes.active', {});
  return page.items.map((item) => item.slug).sort();
}

await client.connect(new StreamableHTTPClientTransport(new URL(url)));
const tools = (await client.listTools()).tools.map((tool) => tool.name);
for (const tool of ['changes.active', 'change.open', 'change.show', 'change.archive']) {
  assert.ok(tools.includes(tool), `tools/list lacks ${tool}`);
}
assert.deepEqual(await active(), ['prepared']);
await call('change.open', { slug: 'from-a-client', title: 'From a client' });
assert.equal((await call('change.show', { slug: 'from-a-client' })).slug, 'from-a-client');
assert.deepEqual(await active(), ['from-a-client', 'prepared']);
assert.equal((await call('change.archive', { slug: 'prepared' })).archived, true);
assert.deepEqual(await active(), ['from-a-client']);
const failed = await client.callTool({ name: 'change.show', arguments: { slug: 'no-such-change' } });
assert.equal(failed.isError, true, JSON.stringify(failed));

console.log(JSON.stringify({ protocolVersion: client.getNegotiatedProtocolVersion(), firstTool: tools[0] }));
await client.close();
