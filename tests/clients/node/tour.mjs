// The tour of everything the server offers that both generations of the TypeScript SDK take.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

/** What the fixture's tool logs, and what its tool with progress tells. */
const LOGGED = ['Tool execution started', 'Tool processing data', 'Tool execution completed'];
const PROGRESS = [[0, 100], [50, 100], [100, 100]];
/** How long anything the server sends by itself may take. */
const PATIENCE_MS = 10_000;

/** Waits until the server has sent something. */
async function eventually(seen, wanted) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!seen.includes(wanted)) {
    assert.ok(Date.now() < deadline, `${wanted} has not come, but ${JSON.stringify(seen)}`);
    await sleep(20);
  }
}

/** Answers a form as somebody does who agrees: every box ticked, Alice in every line of text. */
export function fill(schema) {
  const values = { boolean: true, integer: 7, number: 7.5, string: 'Alice' };
  const fields = Object.entries(schema.properties);
  return Object.fromEntries(fields.map(([name, field]) => [name, field.enum?.[0] ?? values[field.type]]));
}

/** All items of a list that comes in pages. */
async function every(list, field) {
  const items = [];
  let cursor;
  do {
    const page = await list(cursor === undefined ? undefined : { cursor });
    items.push(...page[field]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return items;
}

/**
 * Lists, reads, calls, completes, follows progress, logs, questions and changes. `heard` has the arrays `logged`, `asked` and
 * `told` that the client's handlers fill; `listen(filter)` opens what the era has for changes, and returns what ends it.
 */
export async function tour(client, { modern, heard, listen }) {
  async function call(name, args, options) {
    const params = { name, arguments: args ?? {} };
    if (modern) params._meta = { 'io.modelcontextprotocol/logLevel': 'debug' };
    const result = await client.callTool(params, ...(options ?? []));
    assert.ok(!result.isError, `${name}: ${JSON.stringify(result)}`);
    return result;
  }
  const textOf = (result) => result.content[0].text;

  const tools = (await every((cursor) => client.listTools(cursor), 'tools')).map((tool) => tool.name);
  assert.ok(tools.includes('change.archive') && tools.includes('test_simple_text'), `${tools}`);
  const resources = (await every((cursor) => client.listResources(cursor), 'resources')).map((item) => item.uri);
  assert.ok(resources.includes('test://static-text') && resources.includes('changes://active'), `${resources}`);
  const templates = await every((cursor) => client.listResourceTemplates(cursor), 'resourceTemplates');
  assert.ok(templates.some((item) => item.uriTemplate === 'test://template/{id}/data'), JSON.stringify(templates));
  const prompts = (await every((cursor) => client.listPrompts(cursor), 'prompts')).map((item) => item.name);
  assert.ok(prompts.includes('test_prompt_with_arguments'), `${prompts}`);

  assert.equal(textOf(await call('test_simple_text')), 'This is a simple text response for testing.');
  const [fixed] = (await client.readResource({ uri: 'test://static-text' })).contents;
  assert.equal(fixed.text, 'This is the content of the static text resource.');
  const [tasks] = (await client.readResource({ uri: 'change://unfinished/tasks' })).contents;
  assert.match(tasks.text, /- \[ \]/);
  const named = { name: 'test_prompt_with_arguments', arguments: { arg1: 'one', arg2: 'two' } };
  assert.match((await client.getPrompt(named)).messages[0].content.text, /arg1='one', arg2='two'/);
  const ref = { type: 'ref/resource', uri: 'change://{slug}/proposal' };
  const completed = await client.complete({ ref, argument: { name: 'slug', value: 'unf' } });
  assert.deepEqual(completed.completion.values, ['unfinished']);

  const progress = [];
  const onprogress = ({ progress: done, total }) => progress.push([done, total]);
  await call('test_tool_with_progress', {}, modern ? [{ onprogress }] : heard.options({ onprogress }));
  assert.deepEqual(progress, PROGRESS);

  if (!modern) await client.setLoggingLevel('debug');
  await call('test_tool_with_logging');
  for (const text of LOGGED) await eventually(heard.logged, text);

  if (modern) {
    assert.equal(textOf(await call('test_input_required_result_elicitation')), 'Hello, Alice!');
    assert.deepEqual(heard.asked, ['What is your name?']);
  } else {
    assert.match(textOf(await call('test_elicitation', { message: 'Who are you?' })), /^User response: /);
    assert.deepEqual(heard.asked, ['Who are you?']);
  }
  assert.equal((await call('change.archive', { slug: 'unfinished' })).structuredContent.archived, true);
  assert.equal(heard.asked.length, 2, `whether to archive a change with open tasks is a question: ${heard.asked}`);

  const end = await listen('changes://active');
  await call('test_trigger_tool_change');
  await call('change.open', { slug: 'from-a-client', title: 'From a client' });
  await eventually(heard.told, 'tools');
  await eventually(heard.told, 'changes://active');
  await end();
}

/** Ends the session, and makes sure that it is one no more. */
export async function endSession(url, transport) {
  const id = transport.sessionId;
  assert.ok(id, 'a session has an id');
  await transport.terminateSession();
  const headers = {
    'Content-Type': 'application/json',
    Accept: 'application/json, text/event-stream',
    'MCP-Protocol-Version': '2025-11-25',
    'Mcp-Session-Id': id,
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
  // Each of them may be answered by another worker.
  for (let asked = 0; asked < 10; asked += 1) {
    assert.equal((await fetch(url, { method: 'POST', headers, body })).status, 404);
  }
}
