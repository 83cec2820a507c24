/** A chat completion that is read while it is written. */
import type { Answer } from './answers.js';
import { Assembly, type Charge } from './assembly.js';
import type { Deadline } from './deadlines.js';
import { NaiveError, StreamInterruptedError } from './errors.js';
import { parseExact, remember } from './money.js';
import { SSEDecoder, type SSEEvent } from './sse.js';
import type { OpenReply } from './transport.js';
import type { AssistantMessage, ChatChunk, ChatCompletion, TokenUsage } from './types/llm.js';

/** After `[DONE]` nothing more is needed; the end of the body only frees the connection. Unit: milliseconds. */
const END_WAIT_MS = 1_000;

/**
 * The chunks of an answer, as they come.
 *
 * Nothing is sent before it is read: loop over it, over its `text`, or await `finalMessage()`. Leaving a loop ends the
 * call; what was produced until then is charged. A stream that breaks off throws `StreamInterruptedError`.
 */
export class ChatStream implements AsyncIterable<ChatChunk> {
  readonly #open: () => Promise<OpenReply>;
  readonly #assembly = new Assembly();
  readonly #chunks: AsyncGenerator<ChatChunk, void>;
  readonly #abort = new AbortController();
  #state: 'unread' | 'reading' | 'left' | 'broken' | 'done' = 'unread';
  #failure: unknown;
  #response: Response | null = null;
  #chargeText: string | null = null;

  /** Made by `naive.llm.stream`; `open` sends the request. */
  constructor(open: (signal: AbortSignal) => Promise<OpenReply>) {
    this.#open = () => open(this.#abort.signal);
    this.#chunks = this.#read();
  }

  /** The pieces of the first answer's text. */
  get text(): AsyncIterable<string> {
    return this.#texts();
  }

  /** Tokens and USD; null until the last chunk has told them. */
  get usage(): TokenUsage | null {
    return this.#assembly.usage?.usage ?? null;
  }

  /** What was charged, in credits; null until the stream has ended, or while it is not known. */
  get creditsUsed(): number | null {
    return this.#charge.credits_used;
  }

  /** What is left in the wallet, in credits; null until the stream has ended, or while the charge is not known. */
  get creditsRemaining(): number | null {
    return this.#charge.credits_remaining;
  }

  /** Names the call for `naive.llm.generation(…)`; null until the answer began. */
  get generationId(): string | null {
    return this.#response?.headers.get('x-naive-generation-id') ?? null;
  }

  /** Names the request, in the platform's logs too; null until the answer began. */
  get requestId(): string | null {
    return this.#response?.headers.get('x-request-id') ?? null;
  }

  /** The HTTP answer, whose body is read here; null until it began. */
  get response(): Response | null {
    return this.#response;
  }

  /** Read what is left, and return the message of the first choice. */
  async finalMessage(): Promise<AssistantMessage> {
    return (await this.finalCompletion()).choices[0]?.message ?? { role: 'assistant', content: null };
  }

  /** Read what is left, and return the whole answer as `naive.llm.chat` would have. */
  async finalCompletion(): Promise<Answer<ChatCompletion>> {
    for (let next = await this.#chunks.next(); !next.done; next = await this.#chunks.next());
    if (this.#state === 'broken') throw this.#failure;
    if (this.#state !== 'done') {
      throw this.#interrupted({ code: 'stream_closed', message: 'The stream was closed before its end.' });
    }
    const answer = this.#assembly.completion(this.#charge);
    const said = JSON.stringify(answer);
    remember(answer, () => {
      const usage = this.#assembly.exactUsage();
      return { ...(parseExact(said) as object), ...(usage ? { usage } : {}), ...this.#exactCharge };
    });
    return Object.defineProperty(answer, 'requestId', { value: this.requestId }) as Answer<ChatCompletion>;
  }

  /** End the call. A loop over the stream ends as if there were no more chunks. */
  close(): void {
    if (this.#state === 'unread' || this.#state === 'reading') this.#state = 'left';
    this.#abort.abort();
  }

  /** Read chunks. There is one answer: a second loop goes on where the first one is, and one after the end throws. */
  [Symbol.asyncIterator](): AsyncIterator<ChatChunk> {
    if (this.#state !== 'unread' && this.#state !== 'reading') {
      throw new NaiveError({
        code: 'stream_consumed',
        message: 'This stream has been read to its end, or was left.',
        hint: 'finalCompletion() has the whole answer; a new stream is a new call.',
        requestId: this.requestId,
      });
    }
    return {
      next: () => this.#chunks.next(),
      return: async () => {
        this.close();
        await this.#chunks.return();
        return { done: true, value: undefined };
      },
    };
  }

  async *#texts(): AsyncGenerator<string, void> {
    for await (const chunk of this) {
      const text = chunk.choices.find((choice) => (choice.index ?? 0) === 0)?.delta?.content;
      if (text) yield text;
    }
  }

  async *#read(): AsyncGenerator<ChatChunk, void> {
    if (this.#state !== 'unread') return;
    this.#state = 'reading';
    try {
      const { response, deadline } = await this.#open();
      this.#response = response;
      yield* this.#answer(response, deadline);
      this.#enter('done');
    } catch (error) {
      if ((this.#state as string) === 'left') return;
      this.#failure = error;
      this.#enter('broken');
      throw error;
    } finally {
      // Only where the loop was left at a chunk.
      this.#enter('left');
    }
  }

  #enter(state: 'left' | 'broken' | 'done'): void {
    if (this.#state === 'reading') this.#state = state;
  }

  async *#answer(response: Response, deadline: Deadline): AsyncGenerator<ChatChunk, void> {
    let isDone = false;
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    try {
      reader = this.#body(response).getReader();
      for await (const event of events(reader, deadline)) {
        if (event.kind === 'comment') this.#note(event.text);
        else if (event.text === '[DONE]') {
          isDone = true;
          deadline.restart(END_WAIT_MS);
        } else if (!isDone) yield this.#chunk(event.text);
      }
    } catch (error) {
      if (!isDone) throw this.#broken(error);
    } finally {
      deadline.stop();
      await (reader ?? response.body)?.cancel().catch(() => undefined);
    }
    if (!isDone) throw this.#interrupted({ code: 'stream_cut', message: 'The stream ended without its last event.' });
  }

  #body(response: Response): ReadableStream<Uint8Array> {
    const type = response.headers.get('content-type') ?? 'no content type';
    if (response.body && type.startsWith('text/event-stream')) return response.body;
    throw this.#interrupted({
      status: response.status,
      code: 'malformed_stream',
      message: `The answer is no stream of events but ${type}.`,
      hint: 'Something between you and Naive answers in its place; is baseURL right?',
    });
  }

  #chunk(text: string): ChatChunk {
    let chunk: ChatChunk & { error?: unknown };
    try {
      chunk = JSON.parse(text) as ChatChunk;
    } catch (cause) {
      const message = `An event is no JSON: ${text.slice(0, 200)}`;
      throw this.#interrupted({ code: 'malformed_stream', message, cause });
    }
    if (typeof chunk !== 'object' || chunk === null) {
      throw this.#interrupted({ code: 'malformed_stream', message: `An event is no object: ${text.slice(0, 200)}` });
    }
    if (chunk.error !== undefined && chunk.error !== null) throw this.#told(chunk.error, chunk);
    const choices: unknown[] = Array.isArray(chunk.choices) ? chunk.choices : [];
    chunk.choices = choices.filter((choice) => typeof choice === 'object' && choice !== null) as ChatChunk['choices'];
    remember(chunk, text);
    this.#assembly.add(chunk);
    return chunk;
  }

  // The platform's last words in a stream have upstream's own shape: {code: <status>, message, metadata: {error_type}}.
  #told(error: unknown, body: unknown): NaiveError {
    const said = (typeof error === 'object' ? error : { message: String(error) }) as Record<string, unknown>;
    const metadata = (said['metadata'] ?? {}) as Record<string, unknown>;
    return this.#interrupted({
      status: typeof said['code'] === 'number' ? said['code'] : null,
      code: typeof metadata['error_type'] === 'string' ? metadata['error_type'] : 'provider_error',
      message: typeof said['message'] === 'string' ? said['message'] : 'The stream ended with an error.',
      details: metadata,
      body,
    });
  }

  #broken(error: unknown): unknown {
    if (!(error instanceof NaiveError) && !(error instanceof SyntaxError)) return error;
    if (error instanceof StreamInterruptedError) return error;
    const isCut = error instanceof NaiveError && error.code === 'connection_failed';
    const code = isCut ? 'stream_cut' : error instanceof NaiveError ? error.code : 'malformed_stream';
    return this.#interrupted({ code, message: `The stream broke off. ${error.message}`, cause: error });
  }

  #interrupted(facts: ConstructorParameters<typeof NaiveError>[0]): StreamInterruptedError {
    return new StreamInterruptedError({
      hint: this.generationId ? `naive.llm.generation('${this.generationId}') says what it cost.` : null,
      ...facts,
      requestId: this.requestId,
      headers: this.#response?.headers ?? null,
      generationId: this.generationId,
      text: this.#assembly.text,
    });
  }

  // Comments keep connections open and mean nothing, but for the charge.
  #note(comment: string): void {
    if (!comment.includes('"credits_used"')) return;
    try {
      const told: unknown = JSON.parse(comment);
      if (typeof told === 'object' && told !== null && 'credits_used' in told) this.#chargeText = comment;
    } catch {
      // Somebody else's comment.
    }
  }

  get #charge(): Charge {
    const told = (this.#chargeText ? JSON.parse(this.#chargeText) : {}) as Partial<Charge>;
    return { credits_used: told.credits_used ?? null, credits_remaining: told.credits_remaining ?? null };
  }

  get #exactCharge(): object {
    const told = this.#chargeText ? (parseExact(this.#chargeText) as object) : {};
    return { credits_used: null, credits_remaining: null, ...told };
  }
}

async function* events(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  deadline: Deadline,
): AsyncGenerator<SSEEvent, void> {
  const decoder = new SSEDecoder();
  for (;;) {
    const { done, value } = await deadline.race(reader.read());
    if (done) break;
    deadline.restart();
    yield* decoder.push(value);
  }
  yield* decoder.end();
}
