// What goes wrong on the way, by faults of the simulator and of a `fetch` between. 10 calls are charged.
import assert from 'node:assert/strict';
import { createServer, request as ask } from 'node:http';
import { test } from 'node:test';
import * as sdk from '@naive/sdk';
import { caught } from '../support.mjs';

const { Naive } = sdk;
const naive = new Naive();
const HELLO = { model: 'openai/gpt-4o-mini', messages: [{ role: 'user', content: 'Hello' }] };
const faulty = (faults) => ({ ...HELLO, model: `${HELLO.model}:sim=${faults}` });

// A client whose first answer gets lost after the platform gave it.
function losesFirst(lose) {
  let asked = 0;
  const keys = [];
  const fetch = async (url, init) => {
    keys.push(init.headers['idempotency-key']);
    const response = await globalThis.fetch(url, { ...init, signal: undefined });
    if ((asked += 1) > 1) return response;
    await response.text();
    return lose();
  };
  return { client: new Naive({ fetch, timeout: 2_000 }), keys };
}

const LOST = {
  'the connection breaks': () => Promise.reject(new TypeError('fetch failed')),
  'its body breaks off': () => new Response(new ReadableStream({ start: (body) => body.error(new TypeError('terminated')) })),
  'a proxy answers in its place': () => new Response('<h1>Bad gateway</h1>', { status: 502, headers: { 'retry-after': '0' } }),
};

// Three calls.
for (const [how, lose] of Object.entries(LOST)) {
  test(`an answer that is lost because ${how} is given again, and charged once`, async () => {
    const { client, keys } = losesFirst(lose);
    const answer = await client.llm.chat(HELLO);
    assert.ok(answer.choices[0].message.content && answer.credits_used > 0);
    assert.equal(keys.length, 2);
    assert.equal(keys[0], keys[1]);
  });
}

// One call.
test('a chat that takes longer than its timeout is asked for again, and is the same call', async () => {
  const answer = await naive.llm.chat(faulty('delay_headers_ms=700'), { timeout: 400, maxRetries: 5 });
  assert.ok(answer.credits_used > 0);
});

// One call.
test('a stream that is lost before it began is told to be over, with the call that it was', async () => {
  const { client } = losesFirst(LOST['the connection breaks']);
  const error = await caught(client.llm.stream(HELLO).finalCompletion());
  assert.ok(error instanceof sdk.ConflictError);
  assert.equal(error.code, 'already_completed');
  const [id] = /gen_[0-9a-f-]{36}/.exec(error.message);
  assert.equal((await naive.llm.generation(id)).state, 'settled');
});

// None is charged.
for (const [status, name] of [
  [400, 'BadRequestError'],
  [429, 'RateLimitError'],
  [503, 'ServiceUnavailableError'],
]) {
  test(`a provider's ${status} is a ${name}, streamed or not`, async () => {
    const asked = faulty(`status=${status},retry_after=0`);
    for (const call of [() => naive.llm.chat(asked), () => naive.llm.stream(asked).finalCompletion()]) {
      const error = await caught(call);
      assert.deepEqual([error.name, error.status, error.code], [name, status, 'provider_error']);
      assert.match(error.requestId, /^req_/);
    }
  });
}

// One call: its record says what it cost.
test('an answer that the provider cuts is a ProviderError, and not asked for again', async () => {
  const error = await caught(naive.llm.chat(faulty('cut_after=2')));
  assert.ok(error instanceof sdk.ProviderError);
  assert.equal(error.headers.get('x-should-retry'), 'false');
});

// One call, and four that cost nothing.
test('a stream that breaks off says what came before it', async () => {
  const cut = await caught(naive.llm.stream(faulty('cut_after=2')).finalCompletion());
  assert.ok(cut instanceof sdk.StreamInterruptedError && cut.text);
  assert.match(cut.generationId, /^gen_/);
  assert.match(cut.requestId, /^req_/);
  for (const how of ['finish', 'usage', 'empty', 'string']) {
    const error = await caught(naive.llm.stream(faulty(`midstream_error=${how}`)).finalCompletion());
    assert.ok(error instanceof sdk.StreamInterruptedError && error.generationId, how);
  }
});

// One call.
test('however the bytes come, the text is the same', async () => {
  const odd = 'crlf=1,split=1,unicode=1,comments_between=2,completion_tokens=20';
  let text = '';
  const stream = naive.llm.stream(faulty(odd));
  for await (const piece of stream.text) text += piece;
  assert.ok(stream.creditsUsed > 0);
  assert.ok(/[^\0-\x7F]/.test(text) && !text.includes('\uFFFD'));
});

// One call: its record says what it cost.
test('a stream that is left is ended upstream', async () => {
  const stream = naive.llm.stream(faulty('chunk_delay_ms=30,completion_tokens=120'));
  let pieces = 0;
  for await (const _ of stream.text) if ((pieces += 1) === 4) stream.close();
  assert.equal(pieces, 4);
  assert.equal((await caught(stream.finalCompletion())).code, 'stream_closed');
});

// One call. What a gateway does that is killed in the middle of an answer.
test('a server that dies in the middle of a stream is a StreamInterruptedError', async (t) => {
  const server = createServer((incoming, outgoing) => {
    const { method, url, headers } = incoming;
    const onward = ask(new URL(url, naive.baseURL), { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.once('data', (piece) => outgoing.write(piece, () => outgoing.socket.resetAndDestroy()));
      answer.resume();
    });
    incoming.pipe(onward);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  const client = naive.withOptions({ baseURL: `http://127.0.0.1:${server.address().port}` });
  const error = await caught(client.llm.stream(faulty('chunk_delay_ms=5')).finalCompletion());
  assert.ok(error instanceof sdk.StreamInterruptedError);
  assert.equal(error.code, 'stream_cut');
  assert.match(error.requestId, /^req_/);
  assert.match(error.hint, /naive\.llm\.generation/);
});
