/** The client: what is called `naive` everywhere. */
import type { APIPromise, Answer } from './answers.js';
import { ConfigurationError } from './errors.js';
import { list, type PagePromise } from './paging.js';
import { AccountKits } from './resources/account-kits.js';
import { Audit } from './resources/audit.js';
import { Auth } from './resources/auth.js';
import { Billing } from './resources/billing.js';
import { Keys } from './resources/keys.js';
import { LLM } from './resources/llm.js';
import { Users } from './resources/users.js';
import { Webhooks } from './resources/webhooks.js';
import { agentTools, type AgentTools, type AgentToolsOptions, type AnthropicTool, type OpenAITool } from './tools/toolset.js';
import { Transport, path, type APIRequest, type Fetch, type RequestOptions, type Settings } from './transport.js';
import type { LedgerEntry, Status, Usage, UsageParams, UserUsage } from './types/billing.js';

/** What a client may be told; all of it has a default. */
export interface NaiveOptions {
  /** An API key or a session token; left out: `NAIVE_API_KEY` of the environment. null: none, for `auth` alone. */
  apiKey?: string | null | undefined;
  /** The platform's address, without `/v1`; left out: `NAIVE_BASE_URL`, else `http://localhost:8000`. */
  baseURL?: string | undefined;
  /** How long to wait for a whole answer, of a stream for its next bytes, in ms: 600,000 (ten minutes) if left out. */
  timeout?: number | undefined;
  /** How often to try again what may succeed then: 2 if left out. */
  maxRetries?: number | undefined;
  /** Further headers of every request. */
  defaultHeaders?: Record<string, string> | undefined;
  /** Takes the place of the global `fetch`. */
  fetch?: Fetch | undefined;
}

const BASE_URL = 'http://localhost:8000';
const TIMEOUT_MS = 600_000;
const MAX_RETRIES = 2;

/** What can be done for one tenant user. */
class Scope {
  /** Calls to models. */
  readonly llm: LLM;

  /** Made by the client. */
  constructor(transport: Transport, scope: string) {
    this.llm = new LLM(transport, scope);
  }

  /** Return the platform as tools of a model's, Anthropic's form if none is named. */
  agentTools(options?: { form?: 'anthropic' }): AgentTools<AnthropicTool>;
  agentTools(options: { form: 'openai' }): AgentTools<OpenAITool>;
  agentTools(options: AgentToolsOptions = {}): AgentTools<AnthropicTool> | AgentTools<OpenAITool> {
    return agentTools(this.llm, options) as AgentTools<AnthropicTool> | AgentTools<OpenAITool>;
  }
}

/** `naive.forUser(id)`: the same calls, made for one tenant user and held to that user's kit. */
export class UserScope extends Scope {
  /** The user, as `forUser` was told. */
  readonly userId: string;
  readonly #users: Users;

  /** Made by `naive.forUser`. */
  constructor(transport: Transport, userId: string) {
    super(transport, path`/users/${userId}`);
    this.#users = new Users(transport);
    this.userId = userId;
  }

  /** Return what was spent for the user. */
  usage(params: Omit<UsageParams, 'user_id'> = {}, options: RequestOptions = {}): PagePromise<UserUsage, LedgerEntry> {
    return this.#users.usage(this.userId, params, options);
  }
}

/**
 * A client of Naive. Make one and share it; it holds no connection that would have to be closed.
 *
 * ```ts
 * const naive = new Naive();
 * const answer = await naive.llm.chat({ model: 'openai/gpt-5.2', prompt: 'Hello' });
 * ```
 */
export class Naive extends Scope {
  /** Tenant users. */
  readonly users: Users;
  /** Account kits. */
  readonly accountKits: AccountKits;
  /** API keys. */
  readonly keys: Keys;
  /** The wallet. */
  readonly billing: Billing;
  /** Webhooks. */
  readonly webhooks: Webhooks;
  /** Who changed what. */
  readonly audit: Audit;
  /** Founding a company, signing in. */
  readonly auth: Auth;
  readonly #settings: Settings;
  readonly #transport: Transport;

  /** Throws `ConfigurationError` where there is no key, or the address is none. */
  constructor(options: NaiveOptions = {}) {
    const settings = settingsOf(options);
    const transport = new Transport(settings);
    super(transport, '');
    this.#settings = settings;
    this.#transport = transport;
    this.users = new Users(transport);
    this.accountKits = new AccountKits(transport);
    this.keys = new Keys(transport);
    this.billing = new Billing(transport);
    this.webhooks = new Webhooks(transport);
    this.audit = new Audit(transport);
    this.auth = new Auth(transport);
  }

  /** The platform's address. */
  get baseURL(): string {
    return this.#settings.baseURL;
  }

  /** Return the same calls for one tenant user: an id, `ext:<external_id>`, `default` or `me`. */
  forUser(userId: string): UserScope {
    return new UserScope(this.#transport, userId);
  }

  /** Return what was spent, with sums; looping over it lists every entry. */
  usage(params: UsageParams = {}, options: RequestOptions = {}): PagePromise<Usage, LedgerEntry> {
    return list(this.#transport, { method: 'GET', path: '/v1/usage', query: params }, 'transactions', options);
  }

  /** Say who asks, for which company, and what credits there are. */
  status(options?: RequestOptions): APIPromise<Answer<Status>> {
    return this.#transport.json({ method: 'GET', path: '/v1/status' }, options);
  }

  /** Send a request that this version of the SDK has no method for. */
  request<T extends object = Record<string, unknown>>(
    request: APIRequest,
    options?: RequestOptions,
  ): APIPromise<Answer<T>> {
    return this.#transport.json(request, options);
  }

  /** Return a client like this one, but for `options`. */
  withOptions(options: NaiveOptions): Naive {
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    return new Naive({ ...this.#settings, ...Object.fromEntries(given) });
  }
}

function settingsOf(options: NaiveOptions): Settings {
  return {
    apiKey: keyOf(options.apiKey),
    baseURL: addressOf(options.baseURL ?? environment('NAIVE_BASE_URL') ?? BASE_URL),
    timeout: options.timeout ?? TIMEOUT_MS,
    maxRetries: options.maxRetries ?? MAX_RETRIES,
    defaultHeaders: options.defaultHeaders ?? {},
    // Called through, so that a `fetch` that is replaced later (by a mock, say) counts.
    fetch: options.fetch ?? ((url, init) => globalThis.fetch(url, init)),
  };
}

function keyOf(given: string | null | undefined): string | null {
  if (given === null) return null;
  const key = given ?? environment('NAIVE_API_KEY');
  if (key === undefined) {
    throw new ConfigurationError({
      code: 'no_api_key',
      message: 'There is no API key.',
      hint: 'Set NAIVE_API_KEY, or pass `apiKey` (null for a client that only registers or signs in).',
    });
  }
  if (!/^[!-~]+$/.test(key)) {
    const message = 'The API key holds a space, a line end or another character that no key has.';
    throw new ConfigurationError({ code: 'invalid_input', message });
  }
  return key;
}

function addressOf(given: string): string {
  const address = given.replace(/\/+$/, '').replace(/\/v1$/, '');
  // What reads like credentials is not repeated; a query, a fragment or a space would swallow the path.
  if (address.includes('@')) {
    const message = 'baseURL has a user name or a password in it; the key alone says who asks.';
    throw new ConfigurationError({ code: 'invalid_input', message });
  }
  const isWhole = /^https?:\/\/[^/?#\s][^?#\s]*$/i.test(address);
  if (isWhole && URL.canParse(address)) return address;
  throw new ConfigurationError({ code: 'invalid_input', message: `baseURL is no http(s) address: ${JSON.stringify(given)}.` });
}

function environment(name: string): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env?.[name] || undefined;
}
