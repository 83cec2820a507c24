/** Calls to models. */
import type { APIPromise, Answer } from '../answers.js';
import { NaiveError } from '../errors.js';
import { exact, remember } from '../money.js';
import { ChatStream } from '../streaming.js';
import type { RequestOptions, Transport } from '../transport.js';
import type { ChatCompletion, ChatParams, Estimate, Generation, ModelList, ModelsParams } from '../types/llm.js';

/** `naive.llm`: chat with models, list them, and see what calls cost. */
export class LLM {
  readonly #transport: Transport;
  readonly #base: string;

  /** Made by the client; `scope` is the user's path, where there is one. */
  constructor(transport: Transport, scope: string) {
    this.#transport = transport;
    this.#base = `/v1${scope}/llm`;
  }

  /**
   * Ask a model, and wait for its whole answer.
   *
   * Costs credits: `credits_used` says how many. A retry never costs twice. Throws `InsufficientCreditsError` where a
   * wallet, cap or allowance does not cover the call, `PermissionDeniedError` where the kit does not allow it.
   */
  chat(params: ChatParams, options?: RequestOptions): APIPromise<Answer<ChatCompletion>> {
    if (params.stream) {
      throw new NaiveError({
        code: 'invalid_input',
        message: 'chat() waits for the whole answer.',
        hint: 'Call naive.llm.stream(…) for a stream.',
      });
    }
    const request = { method: 'POST', path: `${this.#base}/chat/completions`, body: bodyOf(params) } as const;
    return this.#transport.json(request, options);
  }

  /** Ask a model, and read its answer while it is written. Costs as {@link LLM.chat} does. */
  stream(params: ChatParams, options: RequestOptions = {}): ChatStream {
    const body = { ...bodyOf(params), stream: true };
    const headers = { accept: 'text/event-stream' };
    const request = { method: 'POST', path: `${this.#base}/chat/completions`, body, headers } as const;
    return new ChatStream((signal) => this.#transport.open(request, options, signal));
  }

  /** List the models that may be called; free. Takes words of the id or the name, or several filters. */
  models(search: string | ModelsParams = {}, options?: RequestOptions): APIPromise<Answer<ModelList>> {
    const query = typeof search === 'string' ? { search } : search;
    return this.#transport.json({ method: 'GET', path: `${this.#base}/models`, query }, options);
  }

  /** Return what became of a call; free. Takes an answer's `id` or a stream's `generationId`. */
  generation(id: string, options?: RequestOptions): APIPromise<Answer<Generation>> {
    const request = { method: 'GET', path: `${this.#base}/generation`, query: { id } } as const;
    return this.#transport.json<{ data: Generation }>(request, options).map((answer) => {
      remember(answer.data, () => exact(answer).data);
      return Object.defineProperty(answer.data, 'requestId', { value: answer.requestId }) as Answer<Generation>;
    });
  }

  /** Say whether a chat would be let through, and what it would cost at most; free, nothing is sent to a model. */
  estimate(params: ChatParams, options?: RequestOptions): APIPromise<Answer<Estimate>> {
    return this.#transport.json({ method: 'POST', path: `${this.#base}/estimate`, body: bodyOf(params) }, options);
  }
}

function bodyOf({ system, ...params }: ChatParams): object {
  if (system === undefined || system === null) return params;
  const first = { role: 'system', content: system };
  const { prompt, messages, ...rest } = params;
  if (messages || typeof prompt !== 'string') return { ...params, messages: [first, ...(messages ?? [])] };
  return { ...rest, messages: [first, { role: 'user', content: prompt }] };
}
