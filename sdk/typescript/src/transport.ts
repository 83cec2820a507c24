/** How a request reaches the platform: one place for keys, retries, timeouts and idempotency. */
import { APIPromise, type Answer, type Reply } from './answers.js';
import { Deadline } from './deadlines.js';
import { APIConnectionError, InvalidResponseError, NaiveError } from './errors.js';
import { remember } from './money.js';
import { isWorthRetrying, waitMs } from './retries.js';
import { errorFromAnswer } from './statuses.js';
import { VERSION } from './version.js';

/** A function like the global `fetch`. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** What one call may have otherwise than its client. */
export interface RequestOptions {
  /** How long to wait for the whole answer, of a stream for its next bytes, in ms. `Infinity`: for ever. */
  timeout?: number | undefined;
  /** How often to try again what may succeed then. */
  maxRetries?: number | undefined;
  /** Ends the call; it then throws the signal's reason, as `fetch` does. */
  signal?: AbortSignal | undefined;
  /** Names what is to be done once; left out, each call that changes anything gets a name of its own. */
  idempotencyKey?: string | undefined;
  /** Further headers. */
  headers?: Record<string, string> | undefined;
}

/** A request, as resources describe it. */
export interface APIRequest {
  /** HTTP's. */
  method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';
  /** From `/v1` on, its parts encoded; see {@link path}. */
  path: string;
  /** Parameters; what is undefined or null is left out. */
  query?: object | undefined;
  /** Sent as JSON. */
  body?: object | undefined;
  /** Headers of this request alone. */
  headers?: Record<string, string> | undefined;
}

/** What every call of a client has in common. */
export interface Settings {
  /** null: none is sent. */
  apiKey: string | null;
  /** Without `/v1` and a final slash. */
  baseURL: string;
  /** In ms. */
  timeout: number;
  /** 0: one try. */
  maxRetries: number;
  /** Of every request. */
  defaultHeaders: Record<string, string>;
  /** What sends. */
  fetch: Fetch;
}

/** A response whose body is still to be read, and what bounds the reading. */
export interface OpenReply {
  /** A good one. */
  response: Response;
  /** The caller restarts and stops it. */
  deadline: Deadline;
}

/** Write a path, its parts encoded. Throws where a part is missing, or would mean another path. */
export function path(texts: TemplateStringsArray, ...parts: string[]): string {
  return String.raw({ raw: texts }, ...parts.map(segment));
}

function segment(part: unknown): string {
  // A slash too: servers read one that is encoded as one that is not.
  if (typeof part !== 'string' || part === '' || part === '.' || part === '..' || part.includes('/')) {
    throw new NaiveError({ code: 'invalid_input', message: `An id is a text, not ${JSON.stringify(part) ?? part}.` });
  }
  return encodeURIComponent(part);
}

/** Sends requests. One for each client; holds the key where nothing prints it. */
export class Transport {
  readonly #settings: Settings;

  /** Made by the client. */
  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** Return the answer of a request, parsed. */
  json<T extends object>(request: APIRequest, options: RequestOptions = {}): APIPromise<Answer<T>> {
    return new APIPromise(this.reply(request, options), parse<T>);
  }

  /** Return the answer of a request as text. */
  text(request: APIRequest, options: RequestOptions = {}): APIPromise<string> {
    return new APIPromise(this.reply(request, options), (reply) => reply.text);
  }

  /** Return the answer of a request once its headers are there. `signal` ends it too; the caller stops the deadline. */
  open(request: APIRequest, options: RequestOptions, signal: AbortSignal): Promise<OpenReply> {
    const read = (response: Response, deadline: Deadline) => Promise.resolve({ response, deadline });
    return this.#tries(request, options, read, signal);
  }

  /** Return the answer of a request, received whole. */
  reply(request: APIRequest, options: RequestOptions): Promise<Reply> {
    return this.#tries(request, options, async (response, deadline) => {
      const text = await deadline.race(response.text());
      deadline.stop();
      return { status: response.status, headers: response.headers, text };
    });
  }

  // An answer that breaks off is tried again like one that never came: the Idempotency-Key makes it the same call.
  async #tries<T>(
    request: APIRequest,
    options: RequestOptions,
    read: (response: Response, deadline: Deadline) => Promise<T>,
    ...signals: AbortSignal[]
  ): Promise<T> {
    const init = this.#init(request, options);
    const callers = options.signal ? [options.signal, ...signals] : signals;
    const maxRetries = options.maxRetries ?? this.#settings.maxRetries;
    for (let tried = 1; ; tried += 1) {
      const deadline = new Deadline(options.timeout ?? this.#settings.timeout, callers);
      try {
        return await this.#try(this.#url(request), init, deadline, read);
      } catch (error) {
        deadline.stop();
        const wait = tried <= maxRetries ? waitAfter(error, tried) : null;
        if (wait === null) throw error;
        await pause(wait, callers);
      }
    }
  }

  async #try<T>(
    url: string,
    init: RequestInit,
    deadline: Deadline,
    read: (response: Response, deadline: Deadline) => Promise<T>,
  ): Promise<T> {
    deadline.signal.throwIfAborted();
    const response = await deadline.race(this.#settings.fetch(url, { ...init, signal: deadline.signal }));
    if (response.ok || response.status === 304) return read(response, deadline);
    const text = await deadline.race(response.text());
    throw errorFromAnswer(response.status, response.headers, text);
  }

  #init({ method, body, headers }: APIRequest, options: RequestOptions): RequestInit {
    const { apiKey } = this.#settings;
    const sent: Record<string, string> = {
      accept: 'application/json',
      'user-agent': `naive-sdk-typescript/${VERSION}`,
      ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(method === 'GET' ? {} : { 'idempotency-key': options.idempotencyKey ?? crypto.randomUUID() }),
    };
    for (const more of [this.#settings.defaultHeaders, headers, options.headers]) {
      for (const [name, value] of Object.entries(more ?? {})) sent[name.toLowerCase()] = value;
    }
    // A redirect is no answer of the platform's, and would lead the key elsewhere.
    const init: RequestInit = { method, headers: sent, redirect: 'manual' };
    return body === undefined ? init : { ...init, body: JSON.stringify(body) };
  }

  #url({ path, query }: APIRequest): string {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined && value !== null) search.set(name, parameter(value));
    }
    const asked = search.toString();
    return `${this.#settings.baseURL}${path}${asked ? `?${asked}` : ''}`;
  }
}

function parameter(value: unknown): string {
  return value instanceof Date ? value.toISOString() : String(value);
}

/** Parse an answer and attach the id of its request. Throws where it is no JSON object. */
export function parse<T extends object>({ status, headers, text }: Reply): Answer<T> {
  const requestId = headers.get('x-request-id');
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch (cause) {
    throw unreadable(status, headers, text, cause);
  }
  if (typeof answer !== 'object' || answer === null) throw unreadable(status, headers, text, undefined);
  remember(answer, text);
  return Object.defineProperty(answer, 'requestId', { value: requestId }) as Answer<T>;
}

function unreadable(status: number, headers: Headers, text: string, cause: unknown): InvalidResponseError {
  const type = headers.get('content-type') ?? 'no content type';
  return new InvalidResponseError({
    status,
    code: 'invalid_response',
    message: `HTTP ${status} with ${type} is no JSON object: ${text.trim().slice(0, 200)}`,
    hint: 'Something between you and Naive answers in its place; is baseURL right?',
    requestId: headers.get('x-request-id'),
    headers,
    body: text,
    cause,
  });
}

function waitAfter(error: unknown, tried: number): number | null {
  if (!(error instanceof NaiveError)) return null;
  const { status, code, headers } = error;
  const isWorthIt =
    status === null || headers === null ? error instanceof APIConnectionError : isWorthRetrying(status, code, headers);
  return isWorthIt ? waitMs({ tried, headers, chance: Math.random(), nowMs: Date.now() }) : null;
}

// Waits, unless a caller leaves first; then throws that caller's reason.
async function pause(ms: number, callers: readonly AbortSignal[]): Promise<void> {
  const waiting = new Deadline(Infinity, callers);
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await waiting.race(new Promise<void>((resolve) => (timer = setTimeout(resolve, ms))));
  } finally {
    clearTimeout(timer);
    waiting.stop();
  }
}
