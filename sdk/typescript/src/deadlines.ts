/** One signal for everything that ends a request: the caller's own, and time. */
import { APIConnectionError, APITimeoutError } from './errors.js';

/** A timer that is set to wait longer ends at once. Unit: milliseconds, 24 days. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** What a request waits by. Works with any `fetch`, also one that does not look at its signal. */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #callers: readonly AbortSignal[];
  readonly #onAbort = (): void => this.#controller.abort(this.#callers.find(isAborted)?.reason);
  readonly #timeoutMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isLate = false;

  /** Start waiting. */
  constructor(timeoutMs: number, callers: readonly AbortSignal[]) {
    this.#timeoutMs = timeoutMs;
    this.#callers = callers;
    if (callers.some(isAborted)) this.#onAbort();
    for (const caller of callers) caller.addEventListener('abort', this.#onAbort);
    this.restart();
  }

  /** What `fetch` gets. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Wait anew: something came. */
  restart(timeoutMs = this.#timeoutMs): void {
    clearTimeout(this.#timer);
    if (timeoutMs > TIMER_MAX_MS) return;
    this.#timer = setTimeout(() => {
      this.#isLate = true;
      this.#controller.abort();
    }, timeoutMs);
  }

  /** Wait no more. */
  stop(): void {
    clearTimeout(this.#timer);
    for (const caller of this.#callers) caller.removeEventListener('abort', this.#onAbort);
  }

  /** Return what `work` does, unless the deadline comes first; then throw what {@link explain} says. */
  async race<T>(work: Promise<T>): Promise<T> {
    let leave: (() => void) | undefined;
    const ended = new Promise<never>((_, reject) => {
      leave = () => reject(this.signal.reason);
      if (this.signal.aborted) leave();
      else this.signal.addEventListener('abort', leave);
    });
    try {
      return await Promise.race([work, ended]);
    } catch (cause) {
      throw this.explain(cause);
    } finally {
      if (leave) this.signal.removeEventListener('abort', leave);
    }
  }

  /** Return the error that a failure is to whoever called: the caller's own reason as it is, as `fetch` does. */
  explain(cause: unknown): unknown {
    const caller = this.#callers.find(isAborted);
    if (caller) return caller.reason;
    if (this.#isLate) {
      return new APITimeoutError({
        code: 'timeout',
        message: `Nothing came for ${this.#timeoutMs} ms.`,
        hint: 'Raise `timeout`, for the client or for this call.',
      });
    }
    const said = cause instanceof Error ? connectionFault(cause) : String(cause);
    return new APIConnectionError({ code: 'connection_failed', message: `No answer came: ${said}`, cause });
  }
}

function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

// Node's fetch says "fetch failed", and what failed in its cause.
function connectionFault(error: Error): string {
  return error.cause instanceof Error && error.cause.message ? error.cause.message : error.message;
}
