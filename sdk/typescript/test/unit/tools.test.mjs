import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HELLO, caught, json, platform, refusal } from '../support.mjs';

const MESSAGE = { role: 'assistant', content: 'Hi.' };
const ANSWER = { id: 'gen-1', choices: [{ index: 0, finish_reason: 'stop', message: MESSAGE }], credits_used: 0.1, credits_remaining: 1 };
const REPLY = { text: 'Hi.', finish_reason: 'stop', generation_id: 'gen-1', credits_used: 0.1, credits_remaining: 1 };
const RUN = 'naive_run_primitive';

test('tools come in Anthropic\'s form, or OpenAI\'s', () => {
  const { naive } = platform([json(ANSWER)]);
  const [search, run] = naive.agentTools().tools;
  assert.deepEqual([search.name, run.name], ['naive_search_primitives', RUN]);
  assert.deepEqual(run.input_schema.required, ['primitive', 'method']);
  const openai = naive.agentTools({ form: 'openai' }).tools[1];
  assert.deepEqual(openai, {
    type: 'function',
    function: { name: RUN, description: run.description, parameters: run.input_schema },
  });
  assert.throws(() => naive.agentTools({ form: 'gemini' }), { code: 'unknown_form', name: 'ConfigurationError' });
});

test('chat and models are run, with input parsed or as JSON text', async () => {
  const pricing = { prompt: '0.00000175', completion: '-1' };
  const models = Array.from({ length: 12 }, (_, at) => ({ id: `m${at}`, name: 'M', context_length: 8, pricing }));
  const list = { object: 'list', count: 12, data: models, models };
  const { naive, calls } = platform([json(ANSWER), json(list)]);
  const { handle } = naive.agentTools();
  assert.deepEqual(JSON.parse(await handle(RUN, { primitive: 'llm', method: 'chat', arguments: HELLO })), REPLY);
  const told = await handle(RUN, JSON.stringify({ primitive: 'llm', method: 'models', arguments: { search: 'claude' } }));
  const listed = JSON.parse(told);
  assert.deepEqual(listed.models[0], { id: 'm0', name: 'M', context_length: 8, input_usd_per_million: 1.75 });
  assert.deepEqual([listed.models.length, listed.count, listed.more], [10, 12, '2 more: narrow them with search, provider or max_price.']);
  const one = await handle(RUN, { primitive: 'llm', method: 'models', arguments: { limit: 1 } });
  assert.equal(JSON.parse(one).models.length, 1);
  assert.deepEqual(calls[0].body, HELLO);
  assert.equal(new URL(calls[1].url).search, '?search=claude');
});

test('a user\'s tools call for that user', async () => {
  const { naive, calls } = platform([json(ANSWER)]);
  await naive.forUser('u').agentTools().handle(RUN, { primitive: 'llm', method: 'chat', arguments: HELLO });
  assert.equal(new URL(calls[0].url).pathname, '/v1/users/u/llm/chat/completions');
});

test('a pair that nobody knows is told in these words', async () => {
  const { handle } = platform([json(ANSWER)]).naive.agentTools();
  const unknown = (primitive, method) => handle(RUN, { primitive, method, arguments: {} });
  assert.equal(await unknown('llm', 'sing'), "Unknown Naive primitive method: 'llm.sing'");
  assert.equal(await unknown('email', 'send'), "Unknown Naive primitive method: 'email.send'");
  assert.equal(await unknown('constructor', '__proto__'), "Unknown Naive primitive method: 'constructor.__proto__'");
  assert.equal(await handle('naive_delete_everything', {}), "Unknown Naive tool: 'naive_delete_everything'. There are: naive_search_primitives, naive_run_primitive.");
});

test('what a model gets wrong is told, not thrown', async () => {
  const { naive, calls } = platform([json(ANSWER)]);
  const { handle } = naive.agentTools();
  for (const input of ['{', '[]', null, 3]) assert.match(await handle(RUN, input), /^Not sent: .* Correct the arguments/);
  assert.match(await handle(RUN, { primitive: 'llm', method: 'chat', arguments: 'Hello' }), /should be an object/);
  for (const wrong of [{ stream: true }, { user_id: 'somebody' }]) {
    const told = await handle(RUN, { primitive: 'llm', method: 'chat', arguments: { ...HELLO, ...wrong } });
    assert.match(told, /^Not sent: arguments: .* leave (stream|user_id) out\./);
  }
  const none = await handle(RUN, { primitive: 'llm', method: 'models', arguments: { limit: 'all' } });
  assert.match(none, /limit/);
  assert.equal(calls.length, 0);
});

test('what the platform refuses is text, with what to do next', async () => {
  const refused = refusal(402, 'insufficient_credits', { details: { limit: 'user_cap', required: 0.1, available: 1e-9 } });
  const { handle } = platform([refused]).naive.agentTools();
  assert.equal(
    await handle(RUN, { primitive: 'llm', method: 'chat', arguments: HELLO }),
    "402 insufficient_credits: This is insufficient_credits. Limit: this user's monthly allowance (user_cap): needs 0.1 " +
      'credits, 0.000000001 left. Choose a cheaper model (list models with max_price), lower max_tokens, or shorten ' +
      'the prompt. (req_1)',
  );
});

test('a bug is thrown', async () => {
  const { naive } = platform([json(ANSWER)]);
  const cyclic = { ...HELLO };
  cyclic.self = cyclic;
  const error = await caught(naive.agentTools().handle(RUN, { primitive: 'llm', method: 'chat', arguments: cyclic }));
  assert.ok(error instanceof TypeError);
});

test('a search finds methods with their arguments, and shows all where nothing fits', async () => {
  const { handle } = platform([json(ANSWER)]).naive.agentTools();
  const search = async (query) => JSON.parse(await handle('naive_search_primitives', { query }));
  const names = ({ methods }) => methods.map(({ primitive, method }) => `${primitive}.${method}`);
  assert.deepEqual(names(await search('models prices')), ['llm.models']);
  assert.deepEqual(names(await search()), ['llm.chat', 'llm.models']);
  const nothing = await search('teleport');
  assert.deepEqual(names(nothing), ['llm.chat', 'llm.models']);
  assert.match(nothing.hint, /everything/);
  assert.ok((await search('Ask')).methods[0].arguments.properties.model);
});
