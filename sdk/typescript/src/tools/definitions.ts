/** What the tools of the toolset are called and take: word for word as in Python's registry, from which a test reads. */

/** JSON Schema, as far as it is needed here. */
export type Schema = {
  type: 'string' | 'integer' | 'number' | 'array' | 'object';
  description?: string;
  default?: unknown;
  properties?: Readonly<Record<string, Schema>>;
  required?: readonly string[];
  additionalProperties?: boolean;
  items?: Schema;
  minItems?: number;
  minLength?: number;
  minimum?: number;
  maximum?: number;
};

/** One tool, or one method of a primitive. */
export interface Definition {
  /** In the registry. */
  name: string;
  /** For a model. */
  description: string;
  /** Of its input. */
  schema: Schema;
}

/** Finds methods. */
export const SEARCH: Definition = {
  name: 'naive_search_primitives',
  description: 'Find what Naive can do for you, and the arguments it takes. Then call naive_run_primitive.',
  schema: {
    additionalProperties: false,
    properties: {
      query: {
        default: '',
        description: 'Words of what you want to do, such as `chat model`. Empty: everything.',
        type: 'string',
      },
    },
    type: 'object',
  },
};

/** Runs a method. */
export const RUN: Definition = {
  name: 'naive_run_primitive',
  description:
    'Run one method of a Naive primitive: `llm.chat` (arguments {model, messages} or {model, prompt}) calls a ' +
    'language model, `llm.models` lists models and prices. Costs credits where a model is called.',
  schema: {
    additionalProperties: false,
    properties: {
      primitive: { description: 'Such as `llm`.', type: 'string' },
      method: { description: 'Such as `chat` or `models`.', type: 'string' },
      arguments: { additionalProperties: true, description: "The method's own arguments.", type: 'object' },
    },
    required: ['primitive', 'method'],
    type: 'object',
  },
};

/** `llm.chat`. */
export const CHAT: Definition = {
  name: 'naive_llm_chat',
  description:
    'Ask any of 300+ language models and get its answer and what it cost in credits. Give `prompt`, or ' +
    "`messages`. What else OpenRouter's chat completions take (provider, response_format, tools, …) is passed on.",
  schema: {
    additionalProperties: true,
    properties: {
      model: {
        description: 'Model id with its provider, such as `openai/gpt-4o-mini`.',
        minLength: 1,
        type: 'string',
      },
      prompt: { description: 'What to ask. Either this or `messages`.', minLength: 1, type: 'string' },
      messages: {
        description: 'Chat messages: `[{role, content}]`. Either this or `prompt`.',
        items: { additionalProperties: true, type: 'object' },
        minItems: 1,
        type: 'array',
      },
      system: { description: 'A system prompt, put before the rest.', type: 'string' },
      models: {
        description: 'Fallback models, tried in order when `model` is unavailable.',
        items: { type: 'string' },
        type: 'array',
      },
      max_tokens: { description: 'Most tokens of the answer; fewer may cost less.', minimum: 1, type: 'integer' },
      temperature: { description: '0 is the most predictable.', maximum: 2, minimum: 0, type: 'number' },
    },
    required: ['model'],
    type: 'object',
  },
};

/** `llm.models`. */
export const MODELS: Definition = {
  name: 'naive_llm_models',
  description: 'List the models that may be called, with prices. Free. Narrow by search, provider or max_price.',
  schema: {
    additionalProperties: false,
    properties: {
      search: { description: "Words of the model's id or name.", type: 'string' },
      provider: { description: 'Provider, such as `anthropic`.', type: 'string' },
      max_price: {
        description: 'Most USD per million tokens, for input and for output.',
        minimum: 0,
        type: 'number',
      },
      modality: { description: 'Takes or makes this: `image`, `audio`, `file`.', type: 'string' },
      limit: { default: 10, description: 'How many to list at most.', maximum: 50, minimum: 1, type: 'integer' },
    },
    type: 'object',
  },
};
