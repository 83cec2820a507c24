import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { test } from 'node:test';
import * as sdk from '@naive/sdk';
import { HELLO, KEY, caught, fails, json, platform, refusal } from '../support.mjs';

const ANSWER = { id: 'gen-1', choices: [], credits_used: 0.1, credits_remaining: 1, of_tomorrow: [1] };
const AT_ONCE = { headers: { 'retry-after': '0' } };
const never = () => new Promise(() => {});

test('an answer is what came, with the id of its request beside it', async () => {
  const { naive, calls } = platform([json(ANSWER)]);
  const answer = await naive.llm.chat(HELLO);
  assert.deepEqual(JSON.parse(JSON.stringify(answer)), ANSWER);
  assert.equal(answer.requestId, 'req_1');
  assert.equal(calls[0].url, 'http://naive.test/v1/llm/chat/completions');
  assert.equal(calls[0].headers.authorization, `Bearer ${KEY}`);
  assert.equal(calls[0].headers['user-agent'], `naive-sdk-typescript/${sdk.VERSION}`);
});

test('fields that nobody knows are sent as given', async () => {
  const { naive, calls } = platform([json(ANSWER)]);
  const body = { ...HELLO, top_k: 3, provider: { sort: 'throughput', data_collection: 'deny', quantizations: ['fp8'] } };
  await naive.llm.chat(body);
  assert.deepEqual(calls[0].body, body);
});

for (const [given, sent] of [
  [{ system: 'Be terse.', messages: HELLO.messages }, { messages: [{ role: 'system', content: 'Be terse.' }, ...HELLO.messages] }],
  [{ system: 'Be terse.', prompt: 'Hi' }, { messages: [{ role: 'system', content: 'Be terse.' }, { role: 'user', content: 'Hi' }] }],
  [{ prompt: 'Hi' }, { prompt: 'Hi' }],
  [{ system: null, prompt: 'Hi' }, { prompt: 'Hi' }],
]) {
  test(`a chat with ${Object.keys(given)} is sent with ${Object.keys(sent)}`, async () => {
    const { naive, calls } = platform([json(ANSWER)]);
    await naive.llm.chat({ model: 'm', ...given });
    assert.deepEqual(calls[0].body, { model: 'm', ...sent });
  });
}

for (const [status, name] of [
  [400, 'BadRequestError'],
  [401, 'AuthenticationError'],
  [402, 'InsufficientCreditsError'],
  [403, 'PermissionDeniedError'],
  [404, 'NotFoundError'],
  [409, 'ConflictError'],
  [412, 'PreconditionFailedError'],
  [413, 'PayloadTooLargeError'],
  [418, 'APIStatusError'],
  [422, 'UnprocessableEntityError'],
  [429, 'RateLimitError'],
  [500, 'InternalServerError'],
  [501, 'NotConfiguredError'],
  [502, 'ProviderError'],
  [503, 'ServiceUnavailableError'],
  [504, 'ProviderTimeoutError'],
]) {
  test(`${status} throws ${name} with all that was said`, async () => {
    const { naive } = platform([refusal(status, 'a_code', { hint: 'Do that.', details: { reason: 'why' } })], { maxRetries: 0 });
    const error = await caught(naive.llm.chat(HELLO));
    assert.equal(error.name, name);
    assert.ok(error instanceof sdk[name] && error instanceof sdk.NaiveError && error instanceof Error);
    const { code, message, hint, details, requestId } = error;
    assert.deepEqual(
      { status: error.status, code, message, hint, details, requestId },
      { status, code: 'a_code', message: 'This is a_code.', hint: 'Do that.', details: { reason: 'why' }, requestId: 'req_1' },
    );
  });
}

test('402 says what was short and what can be bought', async () => {
  const packs = [{ id: 'small', name: 'Small', credits: 20, price_usd: 10, badge: null }];
  const error = { code: 'insufficient_credits', message: 'Short.', details: { limit: 'wallet' } };
  const { naive, calls } = platform([json({ error, packs }, { status: 402 })]);
  const thrown = await caught(naive.llm.chat(HELLO));
  assert.equal(thrown.limit, 'wallet');
  assert.deepEqual(thrown.packs, packs);
  assert.equal(calls.length, 1);
});

for (const status of [400, 401, 402, 403, 404, 409, 412, 413, 422, 501]) {
  test(`${status} is not tried again`, async () => {
    const { naive, calls } = platform([refusal(status, 'a_code', AT_ONCE)]);
    await caught(naive.llm.chat(HELLO));
    assert.equal(calls.length, 1);
  });
}

for (const [status, code] of [
  [408, 'provider_error'],
  [409, 'idempotency_in_progress'],
  [429, 'rate_limited'],
  [500, 'internal_error'],
  [502, 'provider_error'],
  [503, 'unavailable'],
  [504, 'provider_timeout'],
]) {
  test(`${status} ${code} is tried again, under the same Idempotency-Key and with the same body`, async () => {
    const again = refusal(status, code, AT_ONCE);
    const { naive, calls } = platform([again, again, json(ANSWER)]);
    assert.equal((await naive.llm.chat(HELLO)).id, 'gen-1');
    assert.equal(calls.length, 3);
    assert.equal(new Set(calls.map((call) => call.headers['idempotency-key'])).size, 1);
    assert.match(calls[0].headers['idempotency-key'], /^[0-9a-f-]{36}$/);
    assert.deepEqual(calls[2].body, calls[0].body);
  });
}

test('x-should-retry has the last word', async () => {
  const no = platform([refusal(502, 'provider_error', { headers: { 'x-should-retry': 'false', 'retry-after': '0' } })]);
  await caught(no.naive.llm.chat(HELLO));
  assert.equal(no.calls.length, 1);
  const yes = platform([refusal(400, 'odd', { headers: { 'x-should-retry': 'true', 'retry-after': '0' } }), json(ANSWER)]);
  await yes.naive.llm.chat(HELLO);
  assert.equal(yes.calls.length, 2);
});

test('who is asked to wait for more than a minute is told at once', async () => {
  const { naive, calls } = platform([refusal(429, 'rate_limited', { headers: { 'retry-after': '61' } })]);
  const error = await caught(naive.llm.chat(HELLO));
  assert.equal(error.retryAfterS, 61);
  assert.equal(calls.length, 1);
});

test('maxRetries holds for a client and for one call', async () => {
  const { naive, calls } = platform([refusal(503, 'unavailable', AT_ONCE)], { maxRetries: 1 });
  await caught(naive.llm.chat(HELLO));
  assert.equal(calls.length, 2);
  await caught(naive.llm.chat(HELLO, { maxRetries: 0 }));
  assert.equal(calls.length, 3);
});

test('a connection that breaks, or an answer that breaks off, is the same call again', async (t) => {
  t.mock.method(Math, 'random', () => 1);
  t.mock.method(globalThis, 'setTimeout', (work, ms) => (ms < 10_000 ? setImmediate(work) : undefined));
  const half = () => new Response(new ReadableStream({ start: (body) => body.error(new TypeError('terminated')) }));
  const { naive, calls } = platform([fails(), half, json(ANSWER)]);
  assert.equal((await naive.llm.chat(HELLO)).id, 'gen-1');
  assert.equal(new Set(calls.map((call) => call.headers['idempotency-key'])).size, 1);
  assert.equal(calls.length, 3);
});

test('without an answer it is an APIConnectionError that says what broke', async () => {
  const { naive } = platform([fails()], { maxRetries: 0 });
  const error = await caught(naive.status());
  assert.ok(error instanceof sdk.APIConnectionError && !(error instanceof sdk.APITimeoutError));
  assert.deepEqual([error.status, error.code, error.requestId], [null, 'connection_failed', null]);
  assert.match(error.message, /ECONNRESET/);
});

for (const [what, answer] of [
  ['headers', never],
  ['a body', () => new Response(new ReadableStream({ pull: never }))],
  ['the body of an error', () => new Response(new ReadableStream({ pull: never }), { status: 500 })],
]) {
  test(`waiting for ${what} ends with an APITimeoutError, whatever fetch does about its signal`, async () => {
    const { naive, calls } = platform([answer], { timeout: 5, maxRetries: 0 });
    const error = await caught(naive.llm.chat(HELLO));
    assert.ok(error instanceof sdk.APITimeoutError && error instanceof sdk.APIConnectionError);
    assert.match(error.message, /5 ms/);
    assert.ok(calls[0].init.signal.aborted);
  });
}

test('a timeout of one call goes before the client\'s, and is tried again', async () => {
  const { naive, calls } = platform([never, json(ANSWER)], { timeout: Infinity });
  assert.equal((await naive.llm.chat(HELLO, { timeout: 5, maxRetries: 1 })).id, 'gen-1');
  assert.equal(calls.length, 2);
});

test('a signal ends a call with its own reason, before, while and between tries', async () => {
  const reason = new Error('The reader left.');
  const gone = platform([json(ANSWER)]);
  assert.equal(await caught(gone.naive.llm.chat(HELLO, { signal: AbortSignal.abort(reason) })), reason);
  assert.equal(gone.calls.length, 0);
  const stop = new AbortController();
  const waiting = platform([() => (setImmediate(() => stop.abort(reason)), never())]);
  assert.equal(await caught(waiting.naive.llm.chat(HELLO, { signal: stop.signal })), reason);
  const later = new AbortController();
  const between = platform([() => (setImmediate(() => later.abort(reason)), refusal(503, 'unavailable', { headers: { 'retry-after': '30' } })())]);
  assert.equal(await caught(between.naive.llm.chat(HELLO, { signal: later.signal })), reason);
  assert.equal(between.calls.length, 1);
});

test('an Idempotency-Key of your own is kept; reads have none; each call has another', async () => {
  const { naive, calls } = platform([json(ANSWER)]);
  await naive.llm.chat(HELLO, { idempotencyKey: 'order-1' });
  await naive.status();
  await naive.llm.chat(HELLO);
  await naive.users.update('u', { label: 'x' });
  const keys = calls.map((call) => call.headers['idempotency-key']);
  assert.equal(keys[0], 'order-1');
  assert.equal(keys[1], undefined);
  assert.notEqual(keys[2], keys[3]);
});

test('what is no JSON is told as such, and not tried again', async () => {
  for (const text of ['<html>Welcome</html>', '', '[', 'null', '3']) {
    const { naive, calls } = platform([json(text, { headers: { 'content-type': 'text/html' } })]);
    const error = await caught(naive.status());
    assert.deepEqual([error.code, error.status, error.requestId, error.body], ['invalid_response', 200, 'req_1', text]);
    assert.equal(calls.length, 1);
  }
});

test('a page of a proxy\'s is an error of its status', async () => {
  const { naive } = platform([json('<h1>Bad gateway</h1>', { status: 502 })], { maxRetries: 0 });
  const error = await caught(naive.status());
  assert.ok(error instanceof sdk.ProviderError);
  assert.deepEqual([error.code, error.message], ['unexpected_answer', 'HTTP 502: <h1>Bad gateway</h1>']);
});

test('a redirect is not followed: the key goes nowhere else', async () => {
  const { naive, calls } = platform([json('', { status: 308, headers: { location: 'http://elsewhere.test' } })]);
  const error = await caught(naive.status());
  assert.equal(error.status, 308);
  assert.match(error.hint, /elsewhere/);
  assert.equal(calls[0].init.redirect, 'manual');
  assert.equal(calls.length, 1);
});

test('the raw response is there, and can be read', async () => {
  const { naive, calls } = platform([json(ANSWER, { headers: { 'x-naive-credits-held': '0.5' } })]);
  const response = await naive.llm.chat(HELLO).asResponse();
  assert.equal(response.headers.get('x-naive-credits-held'), '0.5');
  assert.deepEqual(await response.json(), ANSWER);
  const both = await naive.llm.chat(HELLO).withResponse();
  assert.deepEqual([both.data.id, both.response.status, both.requestId], ['gen-1', 200, 'req_1']);
  assert.equal(calls.length, 2);
});

test('a call is a promise like any other', async () => {
  const { naive } = platform([json(ANSWER)]);
  const [a, b] = await Promise.all([naive.status(), naive.llm.chat(HELLO)]);
  assert.deepEqual([a.id, b.id], ['gen-1', 'gen-1']);
  let ended = 0;
  await naive.status().finally(() => (ended += 1));
  const broken = platform([refusal(403, 'forbidden')]).naive;
  assert.equal(await broken.status().catch((error) => error.code), 'forbidden');
  assert.equal((await caught(broken.status().asResponse())).code, 'forbidden');
  assert.equal(ended, 1);
});

test('ids are encoded, and what is no id never becomes another path', async () => {
  const { naive, calls } = platform([json(ANSWER)]);
  await naive.users.get('ext:a..b?c=1#d%2fe');
  assert.equal(calls[0].url, 'http://naive.test/v1/users/ext%3Aa..b%3Fc%3D1%23d%252fe');
  for (const id of ['', '.', '..', 'default/usage', '../keys', undefined, null, 3]) {
    assert.throws(() => naive.users.delete(id), { code: 'invalid_input' });
    assert.throws(() => naive.forUser(id), { code: 'invalid_input' });
  }
  assert.equal(calls.length, 1);
});

test('parameters are left out, written as dates, and escaped', async () => {
  const { naive, calls } = platform([json({ users: [], next_cursor: null })]);
  const created_since = new Date('2026-11-01T00:00:00Z');
  await naive.users.list({ search: 'a&b', status: undefined, limit: 5, created_since });
  assert.equal(new URL(calls[0].url).search, '?search=a%26b&limit=5&created_since=2026-11-01T00%3A00%3A00.000Z');
});

test('forUser goes to that user\'s own routes', async () => {
  const { naive, calls } = platform([json(ANSWER)]);
  const alice = naive.forUser('ext:alice');
  await alice.llm.chat(HELLO);
  await alice.llm.models('claude');
  await alice.llm.estimate(HELLO);
  assert.deepEqual(calls.map((call) => new URL(call.url).pathname + new URL(call.url).search), [
    '/v1/users/ext%3Aalice/llm/chat/completions',
    '/v1/users/ext%3Aalice/llm/models?search=claude',
    '/v1/users/ext%3Aalice/llm/estimate',
  ]);
});

test('the environment gives key and address, and null asks for no key', async (t) => {
  const before = { ...process.env };
  t.after(() => Object.assign(process.env, before));
  delete process.env.NAIVE_API_KEY;
  delete process.env.NAIVE_BASE_URL;
  assert.throws(() => new sdk.Naive(), { code: 'no_api_key', name: 'ConfigurationError' });
  assert.equal(new sdk.Naive({ apiKey: KEY }).baseURL, 'http://localhost:8000');
  Object.assign(process.env, { NAIVE_API_KEY: KEY, NAIVE_BASE_URL: 'https://naive.example/v1/' });
  assert.equal(new sdk.Naive().baseURL, 'https://naive.example');
  const { naive, calls } = platform([json({ api_key: 'k' })], { apiKey: null });
  await naive.auth.login({ email: 'a@b.example', password: 'p' });
  assert.equal(calls[0].headers.authorization, undefined);
});

test('a key or an address that cannot be one is refused before anything is sent', () => {
  for (const apiKey of ['', 'a b', 'a\n', 'a\u00e9']) {
    assert.throws(() => new sdk.Naive({ apiKey }), { code: 'invalid_input' });
  }
  for (const baseURL of ['naive.example', 'ftp://naive.example', '']) {
    assert.throws(() => new sdk.Naive({ apiKey: KEY, baseURL }), { code: 'invalid_input' });
  }
});

test('the key is in nothing that is printed', async () => {
  const { naive } = platform([refusal(401, 'unauthorized')]);
  const error = await caught(naive.status());
  for (const thing of [naive, naive.llm, naive.forUser('u'), naive.llm.stream(HELLO), error]) {
    assert.ok(!inspect(thing, { depth: 9, showHidden: true }).includes(KEY));
    assert.ok(!(JSON.stringify(thing) ?? '').includes(KEY));
  }
});

test('withOptions changes what it names and keeps the rest', async () => {
  const { naive, calls } = platform([refusal(503, 'unavailable', AT_ONCE)], { defaultHeaders: { 'X-App': 'one' } });
  const other = naive.withOptions({ maxRetries: 0, timeout: undefined, defaultHeaders: { 'X-App': 'two' } });
  await caught(other.status());
  assert.equal(calls.length, 1);
  assert.equal(calls[0].headers['x-app'], 'two');
  assert.equal(calls[0].headers.authorization, `Bearer ${KEY}`);
});

test('chat refuses stream: true, since it waits', () => {
  const { naive } = platform([json(ANSWER)]);
  assert.throws(() => naive.llm.chat({ ...HELLO, stream: true }), { code: 'invalid_input', hint: /llm\.stream/ });
});

test('request reaches what this version has no method for', async () => {
  const { naive, calls } = platform([json({ fine: true })]);
  const answer = await naive.request({ method: 'POST', path: '/v1/tomorrow', query: { a: 1 }, body: { b: 2 } });
  assert.equal(answer.fine, true);
  assert.equal(calls[0].url, 'http://naive.test/v1/tomorrow?a=1');
  assert.deepEqual(calls[0].body, { b: 2 });
});

test('a kit is read and changed by its ETag', async () => {
  const { naive, calls } = platform([json('', { status: 304 }), json({ id: 'k', etag: '"v2"' })]);
  assert.equal(await naive.accountKits.get('k', { ifNoneMatch: '"v1"' }), null);
  assert.equal((await naive.accountKits.update('k', { name: 'n' }, { ifMatch: '"v1"' })).etag, '"v2"');
  await naive.accountKits.delete('k', { ifMatch: '"v2"' });
  assert.deepEqual(calls.map(({ headers }) => headers['if-none-match'] ?? headers['if-match']), ['"v1"', '"v1"', '"v2"']);
});

test('an address that would lead elsewhere is refused, and no password repeated', () => {
  const wrong = ['http://user:pa55word@naive.test', 'http://naive.test?a=1', 'http://naive.test#', 'http:///path', 'http://naive.test\n'];
  for (const baseURL of wrong) {
    const refused = (error) => error.code === 'invalid_input' && !error.message.includes('pa55word');
    assert.throws(() => new sdk.Naive({ apiKey: KEY, baseURL }), refused);
  }
  assert.equal(new sdk.Naive({ apiKey: KEY, baseURL: 'HTTP://naive.test/v1/' }).baseURL, 'HTTP://naive.test');
});
