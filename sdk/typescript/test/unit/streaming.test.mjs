import assert from 'node:assert/strict';
import { test } from 'node:test';
import { APITimeoutError, NaiveError, RateLimitError, StreamInterruptedError, exact } from '@naive/sdk';
import { CHARGE, DONE, HELLO, USAGE, all, caught, chunk, event, fails, json, platform, refusal, stream } from '../support.mjs';

const LAST = `data: {"id":"gen-1","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],${USAGE}}\n\n`;
const WHOLE = [': OPENROUTER PROCESSING\n\n', event(chunk('Old pond ')), event(chunk('– 🐸')), LAST, CHARGE, DONE];
const TEXT = 'Old pond – 🐸';

test('a stream gives chunks, then usage, charge and the whole answer', async () => {
  const { naive, calls } = platform([stream(WHOLE)]);
  const asked = naive.llm.stream(HELLO);
  assert.deepEqual([asked.usage, asked.creditsUsed, asked.generationId, asked.requestId], [null, null, null, null]);
  let text = '';
  for await (const chunk of asked) text += chunk.choices[0]?.delta?.content ?? '';
  assert.equal(text, TEXT);
  assert.equal(asked.usage.total_tokens, 17);
  assert.deepEqual([asked.creditsUsed, asked.generationId, asked.requestId], [0.00035, 'gen_1', 'req_1']);
  const answer = await asked.finalCompletion();
  assert.equal(answer.object, 'chat.completion');
  assert.deepEqual(answer.choices, [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: TEXT } }]);
  assert.deepEqual([answer.usage.prompt_tokens, answer.credits_used, answer.requestId], [8, 0.00035, 'req_1']);
  assert.deepEqual(await asked.finalMessage(), answer.choices[0].message);
  assert.equal(asked.response.status, 200);
  assert.equal(calls.length, 1);
  assert.deepEqual(calls[0].body, { ...HELLO, stream: true });
  assert.equal(calls[0].headers.accept, 'text/event-stream');
});

test('text gives the pieces alone, and finalCompletion needs no loop', async () => {
  assert.deepEqual(await all(platform([stream(WHOLE)]).naive.llm.stream(HELLO).text), ['Old pond ', '– 🐸']);
  const message = await platform([stream(WHOLE)]).naive.llm.stream(HELLO).finalCompletion();
  assert.equal(message.choices[0].message.content, TEXT);
});

test('amounts of a stream are there to their last digit', async () => {
  const asked = platform([stream(WHOLE)]).naive.llm.stream(HELLO);
  const told = exact(await asked.finalCompletion());
  assert.equal(told.usage.cost, '0.000210000000000000001');
  assert.equal(told.usage.total_tokens, '17');
  assert.deepEqual([told.credits_used, told.credits_remaining], ['0.00035', '123456789.123456789']);
  assert.equal(told.choices[0].message.content, TEXT);
});

for (const size of [1, 3]) {
  test(`bytes may be split anywhere: pieces of ${size}`, async () => {
    for (const end of ['\n', '\r\n', '\r']) {
      const bytes = new TextEncoder().encode(`\uFEFF${WHOLE.join('').replaceAll('\n', end)}`);
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.slice(at * size, (at + 1) * size));
      const asked = platform([stream(pieces)]).naive.llm.stream(HELLO);
      assert.equal((await asked.finalCompletion()).choices[0].message.content, TEXT);
      assert.equal(asked.creditsUsed, 0.00035);
    }
  });
}

test('comments, other fields, several data lines and a missing last blank line are read as the standard says', async () => {
  const [first, second] = JSON.stringify(chunk('Hi'), null, 1).split('\n', 2);
  const rest = JSON.stringify(chunk('Hi'), null, 1).split('\n').slice(2).map((line) => `data:${line}\n`).join('');
  const odd = `:\n\n: {"not json\n: {"credits_used"\nevent: message\nid: 7\nretry: 10\ndata\ndata: ${first}\ndata: ${second}\n${rest}\n`;
  const asked = platform([stream([odd, 'data: [DONE]'])]).naive.llm.stream(HELLO);
  assert.equal((await asked.finalCompletion()).choices[0].message.content, 'Hi');
  assert.equal(asked.creditsUsed, null);
});

test('a charge that is not known is null, and the last one told counts', async () => {
  const unknown = ': {"credits_used":null,"credits_remaining":null}\n\n';
  const asked = platform([stream([CHARGE, unknown, DONE])]).naive.llm.stream(HELLO);
  assert.equal((await asked.finalCompletion()).credits_used, null);
});

test('calls of functions are put together, piece by piece, by their index', async () => {
  const call = (index, more) => event({ id: 'gen-1', choices: [{ index: 0, delta: { tool_calls: [{ index, ...more }] } }] });
  const pieces = [
    call(0, { id: 'a', type: 'function', function: { name: 'weather', arguments: '{"ci' } }),
    call(1, { id: 'b', type: 'function', function: { name: 'time', arguments: '' } }),
    call(0, { function: { arguments: 'ty":"Paris"}' } }),
    call(1, { function: { arguments: '{}' } }),
    DONE,
  ];
  const { choices } = await platform([stream(pieces)]).naive.llm.stream(HELLO).finalCompletion();
  assert.deepEqual(choices[0].message.tool_calls.map(({ id, function: named }) => [id, named.name, named.arguments]), [
    ['a', 'weather', '{"city":"Paris"}'],
    ['b', 'time', '{}'],
  ]);
});

test('several answers, thoughts and unknown fields are kept apart and kept', async () => {
  const piece = (index, delta, more = {}) => event({ id: 'gen-1', provider: 'X', choices: [{ index, delta, ...more }] });
  const pieces = [
    piece(1, { content: 'b', __proto__: { polluted: true } }),
    piece(0, { reasoning: 'hm', content: 'a' }),
    piece(0, { reasoning: 'mm', annotations: [{ type: 'url' }] }, { native_finish_reason: 'x' }),
    piece(1, { content: 'B' }, { finish_reason: 'length' }),
    'data: {"id":"gen-1","choices":[{"index":0,"delta":{"__proto__":{"polluted":1}}}]}\n\n',
    DONE,
  ];
  const message = await platform([stream(pieces)]).naive.llm.stream(HELLO).finalCompletion();
  assert.equal(message.provider, 'X');
  assert.deepEqual(message.choices, [
    {
      index: 0,
      finish_reason: null,
      native_finish_reason: 'x',
      message: { role: 'assistant', content: 'a', reasoning: 'hmmm', annotations: [{ type: 'url' }] },
    },
    { index: 1, finish_reason: 'length', message: { role: 'assistant', content: 'bB' } },
  ]);
  assert.equal({}.polluted, undefined);
});

test('an error inside a choice is a part of the answer', async () => {
  const error = { code: 502, message: 'The provider failed.', metadata: { provider_name: 'X' } };
  const failed = { index: 0, delta: { content: '' }, finish_reason: 'error', error };
  const asked = platform([stream([event(chunk('Old ')), event({ id: 'gen-1', choices: [failed] }), CHARGE, DONE])]).naive.llm.stream(HELLO);
  const [choice] = (await asked.finalCompletion()).choices;
  assert.deepEqual(choice, { index: 0, finish_reason: 'error', error, message: { role: 'assistant', content: 'Old ' } });
  assert.equal(asked.creditsUsed, 0.00035);
  const whole = { id: 'gen-1', choices: [{ index: 0, finish_reason: 'error', error, message: { role: 'assistant', content: 'Old ' } }] };
  assert.deepEqual((await platform([json(whole)]).naive.llm.chat(HELLO)).choices[0].error, error);
});

test('a chunk without choices is one with none', async () => {
  const chunks = await all(platform([stream([`data: {"id":"gen-1",${USAGE}}\n\n`, DONE])]).naive.llm.stream(HELLO));
  assert.deepEqual(chunks[0].choices, []);
});

async function broken(pieces, { options, ...how } = {}) {
  const { naive, calls } = platform([stream(pieces, how)]);
  const asked = naive.llm.stream(HELLO, options);
  const error = await caught(all(asked));
  assert.ok(error instanceof StreamInterruptedError && error instanceof NaiveError);
  assert.deepEqual([error.requestId, error.generationId], ['req_1', 'gen_1']);
  assert.match(`${error.hint} ${error.message}`, /gen_1|right\?/);
  assert.equal(await caught(asked.finalCompletion()), error);
  // What has begun is never asked for again by itself.
  assert.equal(calls.length, 1);
  return error;
}

test('a cut stream is an error with what came before it', async () => {
  for (const end of ['cut', 'close']) {
    const error = await broken([event(chunk('Old ')), event(chunk('pond')), 'data: {"id"'], { end });
    assert.equal(error.text, 'Old pond');
    assert.equal(error.code, 'stream_cut');
  }
});

test('an empty stream is a cut one', async () => {
  assert.equal((await broken([])).code, 'stream_cut');
});

for (const line of ['data: {"id":\n\n', 'data: <html>\n\n', 'data: 3\n\n', 'data: null\n\n']) {
  test(`malformed: ${line.trim()}`, async () => {
    const error = await broken([event(chunk('Old ')), line, event(chunk('pond')), DONE]);
    assert.deepEqual([error.code, error.text], ['malformed_stream', 'Old ']);
  });
}

test('a line without an end is malformed, before it fills the memory', async () => {
  const piece = new Uint8Array(1024 * 1024).fill(120);
  const error = await broken(Array.from({ length: 34 }, () => piece));
  assert.equal(error.code, 'malformed_stream');
});

test('an error in the stream says what the platform said', async () => {
  const frame = {
    id: 'gen-1',
    choices: [{ index: 0, delta: { content: '' }, finish_reason: 'error' }],
    error: {
      code: 402,
      message: 'The credits ran out; see gen_1.',
      metadata: { error_type: 'insufficient_credits', generation_id: 'gen_1', limit: 'wallet' },
    },
  };
  const error = await broken([event(chunk('Old')), event(frame)]);
  assert.deepEqual([error.status, error.code, error.text, error.details.limit], [402, 'insufficient_credits', 'Old', 'wallet']);
  assert.match(error.message, /ran out/);
  assert.equal((await broken([event({ error: 'no' })])).message, 'no');
  assert.equal((await broken([event({ error: {} })])).code, 'provider_error');
});

test('silence for longer than the timeout ends a stream; what comes in time keeps it open', async () => {
  const error = await broken([event(chunk('Old'))], { end: 'hang', options: { timeout: 5 } });
  assert.equal(error.code, 'timeout');
  assert.ok(error.cause instanceof APITimeoutError);
});

test('a page instead of a stream is no stream', async () => {
  const error = await broken(['<html>'], { headers: { 'content-type': 'text/html' } });
  assert.deepEqual([error.code, error.status], ['malformed_stream', 200]);
});

test('after its last event a stream is over, whatever the connection does', async () => {
  const cut = platform([stream(WHOLE, { end: 'cut' })]).naive.llm.stream(HELLO);
  assert.equal((await cut.finalCompletion()).credits_used, 0.00035);
  const more = platform([stream([...WHOLE, event(chunk('more')), 'data: {"\n\n'])]).naive.llm.stream(HELLO);
  assert.equal((await more.finalCompletion()).choices[0].message.content, TEXT);
});

test('what is refused before a stream begins is tried again or thrown like any other call', async () => {
  const busy = refusal(429, 'rate_limited', { headers: { 'retry-after': '0' } });
  const { naive, calls } = platform([busy, busy, stream(WHOLE)]);
  await naive.llm.stream(HELLO).finalCompletion();
  assert.equal(new Set(calls.map((call) => call.headers['idempotency-key'])).size, 1);
  const refused = platform([busy]).naive.llm.stream(HELLO, { maxRetries: 0 });
  const error = await caught(all(refused));
  assert.ok(error instanceof RateLimitError && !(error instanceof StreamInterruptedError));
  const away = platform([fails()], { maxRetries: 0 }).naive.llm.stream(HELLO);
  assert.equal((await caught(all(away.text))).code, 'connection_failed');
});

test('nothing is sent before a stream is read', async () => {
  const { naive, calls } = platform([json({})]);
  const asked = naive.llm.stream(HELLO);
  asked.close();
  assert.equal((await caught(asked.finalCompletion())).code, 'stream_closed');
  assert.equal(calls.length, 0);
});

test('leaving the loop ends the call, and its answer is not made up', async () => {
  const { naive, calls } = platform([stream(WHOLE, { end: 'hang' })]);
  const asked = naive.llm.stream(HELLO);
  for await (const _ of asked) break;
  assert.ok(calls[0].init.signal.aborted || calls[0].response.state.cancelled);
  const error = await caught(asked.finalCompletion());
  assert.deepEqual([error.code, error.text, error.generationId], ['stream_closed', 'Old pond ', 'gen_1']);
});

test('close ends a loop quietly, in the middle of waiting too', async () => {
  const { naive, calls } = platform([stream([event(chunk('Old'))], { end: 'hang' })]);
  const asked = naive.llm.stream(HELLO);
  const pieces = [];
  for await (const piece of asked.text) {
    pieces.push(piece);
    setImmediate(() => asked.close());
  }
  assert.deepEqual(pieces, ['Old']);
  assert.ok(calls[0].init.signal.aborted);
});

test('a signal ends a stream with its own reason, in the middle of waiting too', async () => {
  const stop = new AbortController();
  const { naive } = platform([stream([event(chunk('Old'))], { end: 'hang' })]);
  const asked = naive.llm.stream(HELLO, { signal: stop.signal });
  const error = await caught(async () => {
    for await (const _ of asked) setImmediate(() => stop.abort());
  });
  assert.equal(error.name, 'AbortError');
  assert.equal(await caught(asked.finalCompletion()), error);
});

test('an error of the loop\'s own comes out of it, and ends the call', async () => {
  const { naive, calls } = platform([stream(WHOLE, { end: 'hang' })]);
  const mine = new Error('mine');
  const error = await caught(async () => {
    for await (const _ of naive.llm.stream(HELLO)) throw mine;
  });
  assert.equal(error, mine);
  assert.ok(calls[0].init.signal.aborted || calls[0].response.state.cancelled);
});

test('finalCompletion inside a loop reads the rest, and a stream that is over says so', async () => {
  const asked = platform([stream(WHOLE)]).naive.llm.stream(HELLO);
  let seen = 0;
  for await (const _ of asked) {
    seen += 1;
    await asked.finalCompletion();
  }
  assert.equal(seen, 1);
  assert.equal((await caught(all(asked))).code, 'stream_consumed');
});

test('listeners on a long-lived signal are taken off again', async () => {
  const signal = new AbortController().signal;
  let listening = 0;
  const [add, remove] = [signal.addEventListener, signal.removeEventListener];
  signal.addEventListener = (...given) => ((listening += 1), add.apply(signal, given));
  signal.removeEventListener = (...given) => ((listening -= 1), remove.apply(signal, given));
  const busy = refusal(503, 'unavailable', { headers: { 'retry-after': '0' } });
  await platform([busy, stream(WHOLE)]).naive.llm.stream(HELLO, { signal }).finalCompletion();
  await platform([busy, json({})]).naive.status({ signal });
  await caught(platform([fails()]).naive.status({ signal, maxRetries: 0 }));
  assert.equal(listening, 0);
});

test('choices that are none are passed over', async () => {
  const { naive } = platform([stream(['data: {"choices":[null,1]}\n\n', ...WHOLE])]);
  assert.equal((await naive.llm.stream(HELLO).finalMessage()).content, TEXT);
});

test('an event without an end is not held for ever', async () => {
  const line = `data: ${'x'.repeat(1024 * 1024)}\n`;
  const { naive } = platform([stream(new Array(40).fill(line))]);
  const error = await caught(naive.llm.stream(HELLO).finalMessage());
  assert.equal(error.code, 'malformed_stream');
  assert.match(error.message, /passed 33554432 characters/);
});
