/** The platform as two tools of a model's: look for what there is, and run it. */
import { ConfigurationError, NaiveError } from '../errors.js';
import type { LLM } from '../resources/llm.js';
import { RUN, SEARCH, type Definition } from './definitions.js';
import { Mistake, read } from './input.js';
import { METHODS } from './methods.js';
import { told } from './refusals.js';
import { written } from './writing.js';

/** A tool, as Anthropic's API takes it. */
export interface AnthropicTool {
  /** What the model calls. */
  name: string;
  /** What it is for. */
  description: string;
  /** JSON Schema of its input. */
  input_schema: { type: 'object'; [keyword: string]: unknown };
}

/** A tool, as OpenAI's chat completions take it. */
export interface OpenAITool {
  /** `function`. */
  type: 'function';
  /** The function. */
  function: { name: string; description: string; parameters: { type: 'object'; [keyword: string]: unknown } };
}

/** Tools for a model, and what runs them. */
export interface AgentTools<Tool> {
  /** For the `tools` of a request. */
  tools: Tool[];
  /**
   * Run what the model asked for and return the text to answer it with. Takes the input parsed, or as JSON text.
   *
   * What the platform refuses is text too, with what to do next, so that the model can; only a bug or a signal throws.
   */
  handle(name: string, input: unknown): Promise<string>;
}

/** In which form tools are wanted. */
export interface AgentToolsOptions {
  /** `anthropic` if left out. */
  form?: 'anthropic' | 'openai';
}

const TOOLS = [SEARCH, RUN];

/** Return the tools for a model, bound to `llm`. */
export function agentTools(
  llm: LLM,
  { form = 'anthropic' }: AgentToolsOptions,
): AgentTools<AnthropicTool | OpenAITool> {
  if (form !== 'anthropic' && form !== 'openai') {
    const message = `form '${String(form)}' is not known; there are anthropic and openai.`;
    throw new ConfigurationError({ code: 'unknown_form', message });
  }
  const tools = TOOLS.map((tool) => (form === 'openai' ? toOpenAI(tool) : toAnthropic(tool)));
  return { tools, handle: (name, input) => handle(llm, name, input) };
}

function toAnthropic({ name, description, schema }: Definition): AnthropicTool {
  return { name, description, input_schema: structuredClone(schema) as AnthropicTool['input_schema'] };
}

function toOpenAI(definition: Definition): OpenAITool {
  const { name, description, input_schema: parameters } = toAnthropic(definition);
  return { type: 'function', function: { name, description, parameters } };
}

async function handle(llm: LLM, name: string, input: unknown): Promise<string> {
  try {
    if (name === SEARCH.name) return search(input);
    if (name === RUN.name) return await run(llm, input);
  } catch (error) {
    if (error instanceof NaiveError) return told(error);
    throw error;
  }
  return `Unknown Naive tool: '${name}'. There are: ${TOOLS.map((tool) => tool.name).join(', ')}.`;
}

async function run(llm: LLM, input: unknown): Promise<string> {
  const { primitive, method, arguments: given } = read(input, RUN.schema).known;
  const found = METHODS.find((known) => known.primitive === primitive && known.method === method);
  if (!found) throw new Mistake(`Unknown Naive primitive method: '${String(primitive)}.${String(method)}'`);
  return found.run(llm, given);
}

function search(input: unknown): string {
  const query = String(read(input, SEARCH.schema).known['query']);
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const all = METHODS.map(({ primitive, method, description, schema }) => {
    return { primitive, method, description, arguments: schema };
  });
  const found = all.filter(({ primitive, method, description }) => {
    const text = `${primitive} ${method} ${description}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const hint = 'Nothing has all of these words; this is everything there is.';
  return written(found.length ? { methods: found } : { methods: all, hint });
}
