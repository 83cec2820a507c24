/** The methods that the toolset runs, and their answers: short, for a model pays for what it reads. */
import { InvalidResponseError } from '../errors.js';
import type { LLM } from '../resources/llm.js';
import type { ChatCompletion, ChatParams, Model, ModelsParams } from '../types/llm.js';
import { CHAT, MODELS, type Definition } from './definitions.js';
import { notSent, read } from './input.js';
import { written } from './writing.js';

const MILLION = 1_000_000;

/** One method of a primitive. */
export interface Method extends Definition {
  /** Such as `llm`. */
  primitive: string;
  /** Such as `chat`. */
  method: string;
  /** Return the text to answer the model with. */
  run(llm: LLM, given: unknown): Promise<string>;
}

/** Whose calls they are is the client's own, never the model's to choose. */
export const METHODS: readonly Method[] = [
  { ...CHAT, primitive: 'llm', method: 'chat', run: chat },
  { ...MODELS, primitive: 'llm', method: 'models', run: models },
];

async function chat(llm: LLM, given: unknown): Promise<string> {
  const { known, more } = read(given, CHAT.schema);
  if ((known['prompt'] === undefined) === (known['messages'] === undefined)) {
    throw notSent('arguments: give either prompt or messages');
  }
  if (more['stream']) throw notSent('arguments: a tool answers in one piece: leave stream out');
  if ('user_id' in more) throw notSent('arguments: whose calls these are is settled: leave user_id out');
  const { data, response } = await llm.chat({ ...known, ...more } as ChatParams).withResponse();
  return written(reply(data, response.headers.get('x-naive-max-tokens')));
}

function reply(answer: ChatCompletion, lowered: string | null): object {
  const choice = answer.choices?.[0];
  return {
    text: textOf(choice?.message?.content),
    model: answer.model,
    finish_reason: choice?.finish_reason,
    tool_calls: choice?.message?.tool_calls,
    generation_id: answer.id,
    prompt_tokens: answer.usage?.prompt_tokens,
    completion_tokens: answer.usage?.completion_tokens,
    max_tokens_lowered_to: lowered ? Number(lowered) : undefined,
    credits_used: answer.credits_used,
    credits_remaining: answer.credits_remaining,
  };
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  const parts: unknown[] = Array.isArray(content) ? content : [];
  const texts = parts.map((part) => (part as { text?: unknown } | null)?.text);
  return texts.filter((text) => typeof text === 'string').join('');
}

async function models(llm: LLM, given: unknown): Promise<string> {
  const { limit, ...wanted } = read(given, MODELS.schema).known as { limit: number } & Record<string, unknown>;
  const { count, models: all } = await llm.models(wanted as ModelsParams);
  if (!Array.isArray(all)) {
    const message = `${MODELS.name}: the answer is of another shape than documented.`;
    throw new InvalidResponseError({ code: 'invalid_response', message });
  }
  const left = count - limit;
  const more = left > 0 ? `${left} more: narrow them with search, provider or max_price.` : undefined;
  return written({ models: all.slice(0, limit).map(short), count, more });
}

function short({ id, name, context_length, pricing }: Model): object {
  const all = {
    id,
    name,
    context_length,
    input_usd_per_million: perMillion(pricing?.['prompt']),
    output_usd_per_million: perMillion(pricing?.['completion']),
  };
  return Object.fromEntries(Object.entries(all).filter(([, field]) => field !== undefined && field !== null));
}

// For a model to compare by, not to reckon with; a price that is not known beforehand is negative.
function perMillion(price: string | undefined): number | undefined {
  const usd = Number(price || undefined);
  return usd >= 0 && usd < Infinity ? Number((usd * MILLION).toPrecision(15)) : undefined;
}
