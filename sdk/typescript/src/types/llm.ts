/** What goes into calls to models and comes out of them. Bodies are upstream's own: unknown fields pass both ways. */

/** One turn of a conversation. */
export interface ChatMessage {
  /** `system`, `developer`, `user`, `assistant` or `tool`. */
  role: 'system' | 'developer' | 'user' | 'assistant' | 'tool' | (string & {});
  /** A text, or content parts such as images and files. */
  content?: string | ContentPart[] | null;
  /** What the model wants called. */
  tool_calls?: ToolCall[];
  /** In a message of role `tool`: the call that it answers. */
  tool_call_id?: string;
  [field: string]: unknown;
}

/** A piece of a message that is more than one text: `text`, `image_url`, `file`, `input_audio` … */
export interface ContentPart {
  /** What kind of part it is. */
  type: string;
  [field: string]: unknown;
}

/** A function that a model wants called. */
export interface ToolCall {
  /** Names the call; the answering message repeats it as `tool_call_id`. */
  id: string;
  /** `function`. */
  type: string;
  /** Which function, and its arguments as JSON text. */
  function: { name: string; arguments: string; [field: string]: unknown };
  [field: string]: unknown;
}

/** Which of a model's providers may answer, and in which order they are asked. */
export interface ProviderPreferences {
  /** Providers to try first, in this order. */
  order?: string[];
  /** The only providers allowed. */
  only?: string[];
  /** Providers never to be asked. */
  ignore?: string[];
  /** What matters most: `price`, `throughput` or `latency`. */
  sort?: 'price' | 'throughput' | 'latency' | (string & {}) | Record<string, unknown>;
  /** false: no other provider than those in `order`. */
  allow_fallbacks?: boolean;
  /** true: only providers that know every parameter sent. */
  require_parameters?: boolean;
  /** `deny`: only providers that keep nothing of what they are sent. */
  data_collection?: 'allow' | 'deny' | (string & {});
  /** The most to pay, in USD a million tokens. */
  max_price?: Record<string, number | string>;
  [field: string]: unknown;
}

/** A chat. `messages` or `prompt`, and `model` or `models`, are needed; unknown fields go upstream untouched. */
export interface ChatParams {
  /** A model with its vendor, such as `anthropic/claude-sonnet-4.6`. */
  model?: string | null;
  /** Fallbacks, tried in this order. */
  models?: string[] | null;
  /** The conversation so far. */
  messages?: ChatMessage[] | null;
  /** A text in place of `messages`. */
  prompt?: string | null;
  /** A system prompt; the SDK puts it before `messages` (or `prompt`) as a message of its own. */
  system?: string | null;
  /** Routing between providers. */
  provider?: ProviderPreferences | null;
  /** A ceiling on output; lowered where credits or the kit allow less. */
  max_tokens?: number | null;
  /** As `max_tokens`. */
  max_completion_tokens?: number | null;
  /** How bold the choice of words is, from 0 to 2. */
  temperature?: number | null;
  /** Only the likeliest words that make up this share. */
  top_p?: number | null;
  /** How many answers. */
  n?: number | null;
  /** Texts at which the answer stops. */
  stop?: string | string[] | null;
  /** The same seed asks for the same answer. */
  seed?: number | null;
  /** Functions the model may want called. */
  tools?: object[] | null;
  /** Whether it has to, and which. */
  tool_choice?: string | Record<string, unknown> | null;
  /** `json_object`, or a schema to keep to. */
  response_format?: Record<string, unknown> | null;
  /** How much to think first. */
  reasoning?: Record<string, unknown> | null;
  /** Such as web search. */
  plugins?: Record<string, unknown>[] | null;
  /** Goes upstream under an opaque name of your company's. */
  user?: string | null;
  /** Groups calls; goes upstream under an opaque name. */
  session_id?: string | null;
  /** Keeps one prompt's cache together; goes upstream under an opaque name. */
  prompt_cache_key?: string | null;
  /** Names for traces. */
  trace?: Record<string, unknown> | null;
  /** Which call it is, streamed or not, is said by the method: `chat` or `stream`. */
  stream?: never;
  [field: string]: unknown;
}

/** What a call took. */
export interface TokenUsage {
  /** Tokens read. */
  prompt_tokens: number;
  /** Tokens written. */
  completion_tokens: number;
  /** Both. */
  total_tokens: number;
  /** USD that upstream charged, before the markup; {@link exact} has its every digit. */
  cost?: number | null;
  [field: string]: unknown;
}

/** An answer's message. */
export interface AssistantMessage {
  /** `assistant`. */
  role: string;
  /** The text. */
  content: string | null;
  /** Why it would not answer. */
  refusal?: string | null;
  /** What it thought, where that is told. */
  reasoning?: string | null;
  /** What it wants called. */
  tool_calls?: ToolCall[];
  [field: string]: unknown;
}

/** One of the answers; there is one unless `n` asked for more. */
export interface ChatChoice {
  /** Its place among them. */
  index: number;
  /** `stop`, `length`, `tool_calls`, `content_filter` or `error`. */
  finish_reason: string | null;
  /** Where `finish_reason` is `error`: what the provider said. */
  error?: Record<string, unknown> | null;
  /** The answer itself. */
  message: AssistantMessage;
  [field: string]: unknown;
}

/** Upstream's answer as it came, with what it cost in credits. */
export interface ChatCompletion {
  /** `gen-…`, for {@link LLM.generation}. */
  id: string;
  /** `chat.completion`. */
  object?: string;
  /** Seconds since 1970. */
  created?: number;
  /** The model that answered, which may be a fallback. */
  model?: string;
  /** The answers. */
  choices: ChatChoice[];
  /** Tokens and USD. */
  usage?: TokenUsage;
  /** What was charged, in credits; null while it is not known. */
  credits_used: number | null;
  /** What is left in the wallet, in credits; null while the charge is not known. */
  credits_remaining: number | null;
  [field: string]: unknown;
}

/** What a chunk adds to one answer. */
export interface ChatDelta {
  /** In the first chunk. */
  role?: string;
  /** The next piece of text. */
  content?: string | null;
  /** The next piece of what it thinks. */
  reasoning?: string | null;
  /** Pieces of calls, put together by `index`. */
  tool_calls?: {
    index: number;
    id?: string;
    type?: string;
    function?: { name?: string; arguments?: string };
    [field: string]: unknown;
  }[];
  [field: string]: unknown;
}

/** One event of a stream. */
export interface ChatChunk {
  /** The same in all chunks: `gen-…`. */
  id: string;
  /** `chat.completion.chunk`. */
  object?: string;
  /** Seconds since 1970. */
  created?: number;
  /** The model that answers. */
  model?: string;
  /** What each answer gains; empty in a chunk that only tells the usage. */
  choices: { index: number; delta?: ChatDelta; finish_reason?: string | null; [field: string]: unknown }[];
  /** In the last chunk. */
  usage?: TokenUsage | null;
  [field: string]: unknown;
}

/** A model in short. */
export interface Model {
  /** Such as `openai/gpt-5.2`. */
  id: string;
  /** For people. */
  name: string;
  /** Tokens that fit, in and out. */
  context_length: number | null;
  /** USD a token, as texts. */
  pricing: Record<string, string> | null;
}

/** The models that may be called. */
export interface ModelList {
  /** `list`. */
  object: 'list';
  /** How many. */
  count: number;
  /** Upstream's full objects. */
  data: { id: string; [field: string]: unknown }[];
  /** The same models in short. */
  models: Model[];
}

/** Which models to list; what is left out does not narrow. */
export interface ModelsParams {
  /** Words of the id or the name. */
  search?: string;
  /** The part of the id before the slash. */
  provider?: string;
  /** Takes or gives this: `image`, `audio`, `file` … */
  modality?: string;
  /** Takes all of these. */
  supported_parameters?: string | string[];
  /** USD a million tokens, in and out. */
  max_price?: number;
}

/** A later change of what a call was charged. */
export interface Correction {
  /** 1 for the first. */
  number: number;
  /** USD, now. */
  total_cost: number;
  /** Credits, now. */
  credits_used: number;
  /** Where the better figure came from. */
  source: string;
  /** When. */
  created_at: string;
}

/** The platform's record of one call, completed from upstream's once that is there. */
export interface Generation {
  /** Upstream's `gen-…`, ours before that is known. */
  id: string;
  /** `gen_…`, known before upstream answers. */
  naive_generation_id: string;
  /** Which model. */
  model: string;
  /** Whether it was a stream. */
  streamed: boolean;
  /** When it was asked for. */
  created_at: string | null;
  /** When it was charged. */
  settled_at: string | null;
  /** `settled` is paid for, `voided` cost nothing, `parked` waits for a person. */
  state: 'held' | 'dispatched' | 'settled' | 'voided' | 'parked' | (string & {});
  /** Where its cost is known from. */
  settlement_source: string | null;
  /** USD, as upstream charged it. */
  total_cost: number | null;
  /** The same figure under upstream's other name. */
  usage: number | null;
  /** What was charged, in credits; null while it is not known. */
  credits_used: number | null;
  /** What was set aside, in credits. */
  credits_held: number;
  /** For whom it was. */
  user_id: string;
  /** That user's kit at the time. */
  account_kit_id: string;
  /** What changed later. */
  corrections: Correction[];
  [field: string]: unknown;
}

/** What the gate would say of a call now; nothing is held or sent. */
export interface Estimate {
  /** Whether it would be let through. */
  allowed: boolean;
  /** By which kit. */
  account_kit: { id: string; name: string };
  /** For whom. */
  user_id: string;
  /** Every model that it may end up at. */
  models?: string[];
  /** Whether the price is known, or a default hold stands for it. */
  price_known?: boolean;
  /** The most its prompt can come to. */
  prompt_tokens_max?: number | null;
  /** The most its answer can come to. */
  output_tokens_max?: number | null;
  /** What `max_tokens` would be lowered to. */
  max_tokens?: number | null;
  /** USD, before the markup. */
  worst_case_cost_usd?: number | null;
  /** Credits. */
  worst_case_credits?: number;
  /** What it takes to be let through at all, in credits. */
  least_credits?: number;
  /** What would be held, in credits. */
  hold_credits?: number | null;
  /** Whether the hold grows while it streams. */
  hold_grows?: boolean;
  /** Why it would be refused; null where it would not. */
  refusal: { message: string; details: Record<string, unknown>; [field: string]: unknown } | null;
}
