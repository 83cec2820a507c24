/** Server-sent events out of bytes that are split anywhere: inside a character, a line end, an event. */

/** A comment, or what an event says. */
export interface SSEEvent {
  /** Comments are kept: the charge of a stream comes as one. */
  kind: 'data' | 'comment';
  /** Without `data:` or `:`. */
  text: string;
}

/** Longer is no event of the platform's. Unit: characters. */
const EVENT_MAX = 32 * 1024 * 1024;

/** Takes bytes as they come and returns the events that are complete. Lines end in LF, CRLF or CR. */
export class SSEDecoder {
  readonly #decoder = new TextDecoder();
  #unfinished: string[] = [];
  #unfinishedLength = 0;
  #data: string[] = [];
  #dataLength = 0;
  #skipsLF = false;

  /** Return what these bytes complete. */
  push(bytes: Uint8Array): SSEEvent[] {
    return this.#lines(this.#decoder.decode(bytes, { stream: true }));
  }

  /** Return what the end of the bytes completes: nothing but a last `[DONE]` whose blank line never came. */
  end(): SSEEvent[] {
    const found = this.#lines(`${this.#decoder.decode()}\n`);
    const isDone = this.#data.length === 1 && this.#data[0] === '[DONE]';
    return isDone ? [...found, { kind: 'data', text: '[DONE]' }] : found;
  }

  #lines(text: string): SSEEvent[] {
    const found: SSEEvent[] = [];
    // The LF of a CRLF that was split has ended its line already.
    const lines = (this.#skipsLF && text.startsWith('\n') ? text.slice(1) : text).split(/\r\n|\n|\r/);
    if (text) this.#skipsLF = text.endsWith('\r');
    const last = lines.pop() ?? '';
    for (const line of lines) {
      this.#line(this.#unfinished.join('') + line, found);
      this.#unfinished = [];
      this.#unfinishedLength = 0;
      this.#checkLength();
    }
    this.#unfinished.push(last);
    this.#unfinishedLength += last.length;
    this.#checkLength();
    return found;
  }

  #checkLength(): void {
    if (this.#unfinishedLength + this.#dataLength <= EVENT_MAX) return;
    throw new SyntaxError(`An event of a stream passed ${EVENT_MAX} characters.`);
  }

  #line(line: string, found: SSEEvent[]): void {
    if (line === '') {
      if (this.#data.length) found.push({ kind: 'data', text: this.#data.join('\n') });
      this.#data = [];
      this.#dataLength = 0;
      return;
    }
    const colon = line.indexOf(':');
    const [field, value] = colon < 0 ? [line, ''] : [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')];
    if (field === '') found.push({ kind: 'comment', text: value });
    // `event`, `id` and `retry` mean nothing here.
    else if (field === 'data') {
      this.#data.push(value);
      this.#dataLength += line.length;
    }
  }
}
