/** A whole answer out of the chunks of its stream. */
import { exact } from './money.js';
import type { ChatChunk, ChatCompletion } from './types/llm.js';

type Fields = Record<string, unknown>;

/** Fields whose texts come piece by piece; every other text is whole each time. */
const PIECEWISE = new Set([
  'content',
  'reasoning',
  'reasoning_content',
  'refusal',
  'arguments',
  'data',
  'transcript',
  'text',
  'summary',
]);

/** What a stream said it cost. */
export interface Charge {
  /** Credits; null while it is not known. */
  credits_used: number | null;
  /** Credits left in the wallet; null while the charge is not known. */
  credits_remaining: number | null;
}

/** Takes chunks and keeps the answer that they come to, in the shape of one that was not streamed. */
export class Assembly {
  readonly #answer: Fields = { id: '', object: 'chat.completion' };
  readonly #choices = new Map<number, Fields>();
  #usage: ChatChunk | null = null;

  /** Add what a chunk tells. */
  add(chunk: ChatChunk): void {
    const { choices, usage, ...rest } = chunk;
    for (const [field, value] of Object.entries(rest)) {
      if (field !== 'object' && field !== '__proto__' && value !== null) this.#answer[field] = value;
    }
    if (usage) this.#usage = chunk;
    for (const { index, delta, finish_reason, ...more } of Array.isArray(choices) ? choices : []) {
      const choice = this.#choice(index ?? 0);
      merge(choice['message'] as Fields, (delta ?? {}) as Fields);
      if (finish_reason) choice['finish_reason'] = finish_reason;
      merge(choice, more);
    }
  }

  /** The first answer's text so far. */
  get text(): string {
    const message = this.#choices.get(0)?.['message'] as Fields | undefined;
    return typeof message?.['content'] === 'string' ? message['content'] : '';
  }

  /** The chunk that told the usage. */
  get usage(): ChatChunk | null {
    return this.#usage;
  }

  /** Return the whole answer. */
  completion(charge: Charge): ChatCompletion {
    const choices = [...this.#choices.values()].sort((a, b) => Number(a['index']) - Number(b['index']));
    const usage = this.#usage ? { usage: this.#usage.usage } : {};
    return { ...this.#answer, choices, ...usage, ...charge } as unknown as ChatCompletion;
  }

  /** Return the usage with its numbers as texts. */
  exactUsage(): unknown {
    return this.#usage ? exact(this.#usage).usage : undefined;
  }

  #choice(index: number): Fields {
    const known = this.#choices.get(index);
    if (known) return known;
    const made = { index, finish_reason: null, message: { role: 'assistant', content: null } };
    this.#choices.set(index, made);
    return made;
  }
}

function merge(into: Fields, piece: Fields): void {
  for (const [field, value] of Object.entries(piece)) {
    if (field === '__proto__' || value === null || value === undefined) continue;
    const known = into[field];
    if (typeof value === 'string' && typeof known === 'string' && PIECEWISE.has(field)) into[field] = known + value;
    else if (Array.isArray(value)) into[field] = mergeRows(Array.isArray(known) ? known : [], value);
    else if (isRecord(value) && isRecord(known)) merge(known, value);
    else into[field] = isRecord(value) ? structuredClone(value) : value;
  }
}

// Rows with an index (tool calls, reasoning) come piece by piece; others are whole.
function mergeRows(rows: unknown[], pieces: unknown[]): unknown[] {
  for (const piece of pieces) {
    const known = isRecord(piece) && 'index' in piece ? rows.find((row) => isSame(row, piece)) : undefined;
    if (isRecord(known)) merge(known, piece as Fields);
    else rows.push(isRecord(piece) ? structuredClone(piece) : piece);
  }
  return rows;
}

function isSame(row: unknown, piece: Fields): boolean {
  if (!isRecord(row) || row['index'] !== piece['index']) return false;
  return (row['type'] ?? piece['type']) === (piece['type'] ?? row['type']);
}

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
