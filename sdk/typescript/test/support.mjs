// A platform of a few lines: answers in order, and what was asked.
import { Naive } from '@naive/sdk';

// Made at run time, so that no file holds the shape of a key.
export const KEY = `nv_sk_${'test'}`;
export const HELLO = { model: 'openai/gpt-5.2', messages: [{ role: 'user', content: 'Hello' }] };

export function json(body, { status = 200, headers = {} } = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return () => new Response(status === 304 ? null : text, { status, headers: { 'x-request-id': 'req_1', ...headers } });
}

export function refusal(status, code, { headers, ...more } = {}) {
  return json({ error: { code, message: `This is ${code}.`, request_id: 'req_1', ...more } }, { status, headers });
}

export function fails(message = 'fetch failed') {
  return () => {
    throw new TypeError(message, { cause: new Error('ECONNRESET') });
  };
}

// Bytes are given as texts or arrays; `end` says how the body ends.
export function stream(pieces, { end = 'close', headers = {} } = {}) {
  return ({ signal }) => {
    const left = pieces.map((piece) => (typeof piece === 'string' ? new TextEncoder().encode(piece) : piece));
    const state = { cancelled: false };
    const body = new ReadableStream({
      pull(controller) {
        if (left.length) controller.enqueue(left.shift());
        else if (end === 'close') controller.close();
        else if (end === 'cut') controller.error(new TypeError('terminated', { cause: new Error('other side closed') }));
        else if (end === 'hang') signal?.addEventListener('abort', () => controller.error(signal.reason));
      },
      cancel() {
        state.cancelled = true;
      },
    });
    const all = { 'content-type': 'text/event-stream', 'x-request-id': 'req_1', 'x-naive-generation-id': 'gen_1', ...headers };
    return Object.assign(new Response(body, { headers: all }), { state });
  };
}

// The fake and a client of it; `calls` has {url, method, headers, body} of each request.
export function platform(answers, options = {}) {
  const calls = [];
  const left = [...answers];
  const fetch = async (url, init) => {
    const body = init.body === undefined ? undefined : JSON.parse(init.body);
    calls.push({ url, method: init.method, headers: init.headers, body, init });
    const answer = left.length > 1 ? left.shift() : left[0];
    const response = await answer({ ...init, url });
    calls.at(-1).response = response;
    return response;
  };
  return { calls, naive: new Naive({ apiKey: KEY, baseURL: 'http://naive.test', fetch, ...options }) };
}

export function event(body) {
  return `data: ${typeof body === 'string' ? body : JSON.stringify(body)}\n\n`;
}

export function chunk(content, more = {}) {
  return { id: 'gen-1', object: 'chat.completion.chunk', model: 'openai/gpt-5.2', choices: [{ index: 0, delta: { content } }], ...more };
}

export const USAGE = '"usage":{"prompt_tokens":8,"completion_tokens":9,"total_tokens":17,"cost":0.000210000000000000001}';
export const CHARGE = ': {"credits_used":0.00035,"credits_remaining":123456789.123456789}\n\n';
export const DONE = 'data: [DONE]\n\n';

export async function all(iterable) {
  const found = [];
  for await (const item of iterable) found.push(item);
  return found;
}

export async function caught(work) {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    return error;
  }
  throw new Error('Nothing was thrown.');
}
