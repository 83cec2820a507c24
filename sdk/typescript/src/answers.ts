/** What a call returns: a promise of its answer, behind which the raw HTTP answer can be had. */

/** An answer, with the id of its request. The id is no field of the JSON: it is not enumerated. */
export type Answer<T> = T & {
  /** Names the request, in the platform's logs too. */
  readonly requestId: string | null;
};

/** A whole HTTP answer. */
export interface Reply {
  /** HTTP's. */
  status: number;
  /** HTTP's. */
  headers: Headers;
  /** The body. */
  text: string;
}

/** Answer, HTTP response and request id of one call. */
export interface WithResponse<T> {
  /** What awaiting the call gives. */
  data: T;
  /** Headers and status; its body is unread. */
  response: Response;
  /** Names the request, in the platform's logs too. */
  requestId: string | null;
}

const BODILESS = new Set([204, 205, 304]);

/** A call under way. Await it for the answer, or ask for the HTTP response. Errors are thrown either way. */
export class APIPromise<T> implements Promise<T> {
  /** `Promise`'s own. */
  readonly [Symbol.toStringTag] = 'APIPromise';
  readonly #reply: Promise<Reply>;
  readonly #parse: (reply: Reply) => T;
  #answer: Promise<T> | undefined;

  /** Made by the SDK. */
  constructor(reply: Promise<Reply>, parse: (reply: Reply) => T) {
    this.#reply = reply;
    this.#parse = parse;
  }

  /** Return the HTTP response, its body unread. It was received whole: retries are over. */
  async asResponse(): Promise<Response> {
    const { status, headers, text } = await this.#reply;
    return new Response(BODILESS.has(status) ? null : text, { status, headers });
  }

  /** Return answer, HTTP response and request id. */
  async withResponse(): Promise<WithResponse<T>> {
    const [data, response] = await Promise.all([this, this.asResponse()]);
    return { data, response, requestId: response.headers.get('x-request-id') };
  }

  /** Return a call whose answer is `change` of this one's. */
  map<U>(change: (answer: T, reply: Reply) => U): APIPromise<U> {
    return new APIPromise(this.#reply, (reply) => change(this.#parse(reply), reply));
  }

  /** `Promise`'s own. */
  then<A = T, B = never>(
    onAnswer?: ((answer: T) => A | PromiseLike<A>) | null,
    onError?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#answer ??= this.#reply.then(this.#parse);
    return this.#answer.then(onAnswer, onError);
  }

  /** `Promise`'s own. */
  catch<B = never>(onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<T | B> {
    return this.then(undefined, onError);
  }

  /** `Promise`'s own. */
  finally(onEnd?: (() => void) | null): Promise<T> {
    return this.then().finally(onEnd);
  }
}
