// The samples of the product page, as printed there. 7 calls.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Naive, exact, nanocredits } from '@naive/sdk';

const naive = new Naive();

test('chat with a fallback chain and provider routing', async () => {
  const answer = await naive.llm.chat({
    model: 'anthropic/claude-sonnet-4.6',
    models: ['anthropic/claude-sonnet-4.6', 'openai/gpt-5.2'], // fallback chain
    provider: { sort: 'throughput', data_collection: 'deny' },
    messages: [{ role: 'user', content: 'Hello' }],
  });
  assert.equal(answer.model, 'anthropic/claude-sonnet-4.6');
  assert.ok(answer.choices[0].message.content);
  assert.match(answer.requestId, /^req_/);
});

test('chat with a system prompt is charged as it says', async () => {
  const asked = { model: 'openai/gpt-5.2', system: 'You are terse.', prompt: 'Summarize REST in one line' };
  const { data, response } = await naive.llm.chat({ ...asked, max_tokens: 30 }).withResponse();
  assert.ok(data.usage.cost > 0 && data.credits_used > 0);
  assert.ok(Number(response.headers.get('x-naive-credits-held')) >= data.credits_used);
  const generation = await naive.llm.generation(data.id);
  assert.deepEqual([generation.state, exact(generation).credits_used], ['settled', exact(data).credits_used]);
});

test('a haiku is streamed, and its charge is told', async () => {
  let text = '';
  const stream = naive.llm.stream({
    model: 'openai/gpt-5.2',
    messages: [{ role: 'user', content: 'Write a haiku about Paris.' }],
  });
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? '';
  const message = await stream.finalCompletion();
  assert.equal(text.trim().split('\n').length, 3);
  assert.equal(message.choices[0].message.content, text);
  assert.ok(stream.usage.cost > 0);
  const { credits_used } = exact(await naive.llm.generation(stream.generationId));
  assert.equal(exact(message).credits_used, credits_used);
  assert.equal(nanocredits(stream.creditsUsed), nanocredits(credits_used));
});

test('calls of functions are streamed to the same as they are answered', async () => {
  const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
  const tools = [{ type: 'function', function: { name: 'get_weather', parameters } }];
  const asked = { model: 'openai/gpt-5.2', messages: [{ role: 'user', content: 'Weather in Paris?' }], tools };
  const [whole, streamed] = [await naive.llm.chat(asked), await naive.llm.stream(asked).finalCompletion()];
  const called = ({ choices }) => choices[0].message.tool_calls.map((call) => [call.type, call.function]);
  assert.deepEqual(called(streamed), called(whole));
  assert.equal(streamed.choices[0].finish_reason, 'tool_calls');
});

test('models are listed', async () => {
  const { models, count } = await naive.llm.models('claude');
  assert.ok(count === models.length && models.every(({ id, name }) => /claude/i.test(id + name)));
  const narrow = await naive.llm.models({ provider: 'openai', supported_parameters: ['tools', 'temperature'] });
  assert.ok(narrow.models.length && narrow.models.every(({ id }) => id.startsWith('openai/')));
});

test('a call for a user of yours', async () => {
  const alice = await naive.users.create({ external_id: 'alice' });
  const res = await naive.forUser(alice.id).llm.chat({
    model: 'openai/gpt-5.2',
    messages: [{ role: 'user', content: 'Draft a welcome email.' }],
  });
  assert.equal((await naive.llm.generation(res.id)).user_id, alice.id);
  const used = await naive.forUser('ext:alice').usage();
  assert.equal(exact(used).summary.credits_used, exact(res).credits_used);
});

test('a model routes its own calls', async () => {
  const { handle } = naive.agentTools();
  const messages = [{ role: 'user', content: 'Hello' }];
  const asked = { primitive: 'llm', method: 'chat', arguments: { model: 'openai/gpt-5.2', messages } };
  assert.ok(JSON.parse(await handle('naive_run_primitive', asked)).text);
});
