/** Account kits: what the users who have one may do. */
import type { ListParams } from '../paging.js';

/** What a kit sets for calls to models. */
export interface LLMDefaults {
  /** Globs such as `anthropic/*`; left out: every model. */
  allowed_models?: string[] | null;
  /** Globs; stronger than what is allowed. */
  denied_models?: string[] | null;
  /** A ceiling on output. */
  max_tokens?: number | null;
  /** Provider routing under the caller's own. */
  provider?: Record<string, unknown> | null;
  /** Provider routing over the caller's own. */
  provider_required?: Record<string, unknown> | null;
  /** USD a call may cost at most. */
  max_cost_usd_per_call?: number | null;
  /** Credits each user may spend in a calendar month (UTC). */
  monthly_credits_per_user?: number | null;
  /** How often each user may call. */
  requests_per_minute?: number | null;
}

/** One primitive of a kit; in an update null removes a field. */
export interface PrimitiveConfig<Defaults = Record<string, unknown>> {
  /** false closes it. */
  enabled?: boolean | null;
  /** Whether a person has to agree first. */
  requiresApproval?: boolean | null;
  /** Its limits. */
  defaults?: Defaults;
}

/** What is open to whom, by primitive; in an update null removes a primitive. */
export interface PrimitivesConfig {
  /** Calls to models. */
  llm?: PrimitiveConfig<LLMDefaults> | null;
  [primitive: string]: unknown;
}

/** Which connections are open. */
export interface ConnectionsConfig {
  /** `open` where nothing is said. */
  mode?: 'open' | 'allowlist' | 'blocklist';
  [field: string]: unknown;
}

/** An account kit; `etag` goes into `ifMatch`, so that a change is made to what was read or not at all. */
export interface AccountKit {
  /** UUID. */
  id: string;
  /** Unique in your company. */
  name: string;
  /** For people. */
  description: string;
  /** Whether users who are given no kit get this one. */
  is_default: boolean;
  /** By primitive. */
  primitives_config: PrimitivesConfig;
  /** Which connections are open. */
  connections_config: ConnectionsConfig;
  /** For how many days prompts and answers of its users are stored; null: not at all. */
  prompt_retention_days: number | null;
  /** Names the state that was read. */
  etag: string;
  /** When it was made. */
  created_at: string;
}

/** A kit in a list. */
export interface AccountKitRow extends AccountKit {
  /** How many tenant users have it. */
  users: number;
}

/** A page of kits. */
export interface AccountKitList {
  /** The newest first. */
  account_kits: AccountKitRow[];
  /** Where the next page begins; null at the end. */
  next_cursor: string | null;
}

/** Which kits to list. */
export interface AccountKitListParams extends ListParams {
  /** What the name begins with, whatever the case. */
  search?: string;
}

/** A kit to be made. */
export interface AccountKitCreateParams {
  /** Unique in your company. */
  name: string;
  /** For people. */
  description?: string;
  /** It takes the place of the default before it. */
  is_default?: boolean;
  /** By primitive. */
  primitives_config?: PrimitivesConfig;
  /** Which connections are open. */
  connections_config?: ConnectionsConfig;
  /** Store the prompts and answers of its users' calls for so many days, 1 to 365; null: not at all. */
  prompt_retention_days?: number | null;
}

/** What is to change about a kit; `primitives_config` is merged by primitive and field. */
export interface AccountKitUpdateParams {
  /** Unique in your company. */
  name?: string;
  /** For people. */
  description?: string;
  /** There is a default always: make another kit the default instead of saying false. */
  is_default?: boolean;
  /** Merged into what is there; null removes. */
  primitives_config?: PrimitivesConfig;
  /** Replaced whole. */
  connections_config?: ConnectionsConfig;
  /** Store the prompts and answers of its users' calls for so many days, 1 to 365; null: not at all. */
  prompt_retention_days?: number | null;
}

/** A change to look at before it is made. */
export interface AccountKitPreviewParams {
  /** As in an update. */
  primitives_config?: PrimitivesConfig;
  /** As in an update. */
  connections_config?: ConnectionsConfig;
}

/** Whom to give a kit: exactly one of the three. */
export interface AssignParams {
  /** Up to 1000 ids, or `ext:<external_id>`. */
  user_ids?: string[];
  /** Everybody who has this kit. */
  from_kit_id?: string;
  /** true: everybody. */
  all?: boolean;
}

/** How many users changed kits. */
export interface Assigned {
  /** The kit they have now. */
  account_kit_id: string;
  /** Users who had another kit before. */
  assigned: number;
  /** Users who had this one already. */
  unchanged: number;
}

/** What was there, and is no more. */
export interface Deleted {
  /** UUID. */
  id: string;
  /** true. */
  deleted: boolean;
}

/** One limit of a kit; `value` is null where there is none. */
export interface EffectiveLimit {
  /** Which. */
  name: string;
  /** How much. */
  value: number | null;
  /** Of what. */
  unit: string;
  /** Whose word it is. */
  source: 'account_kit' | 'platform' | 'none';
  /** Where it is set. */
  path: string;
}

/** What a user of a kit may do now; `fault` says why a kit that cannot be read allows nothing. */
export interface EffectiveAccountKit {
  /** UUID. */
  account_kit_id: string;
  /** For people. */
  account_kit_name: string;
  /** Names the state that was read. */
  etag: string;
  /** Why nothing is allowed; null where the kit can be read. */
  fault: string | null;
  /** Which primitives are open. */
  primitives: {
    name: string;
    enabled: boolean;
    requires_approval: boolean;
    source: 'account_kit' | 'platform' | 'none';
    defaults: Record<string, unknown>;
  }[];
  /** The rules for models; null allows every one. */
  llm: {
    allowed_models: string[] | null;
    denied_models: string[];
    provider: Record<string, unknown> | null;
    provider_required: Record<string, unknown> | null;
  };
  /** Every limit. */
  limits: EffectiveLimit[];
  /** The models of the catalogue that may be called. */
  models: { known: number; count: number; names: string[] };
}

/** What a change would make of a kit, and whom it would touch. */
export interface AccountKitPreview {
  /** UUID. */
  account_kit_id: string;
  /** The state it was made from: sent as `ifMatch`, an update does what was shown or nothing. */
  etag: string;
  /** As it would be. */
  primitives_config: PrimitivesConfig;
  /** As it would be. */
  connections_config: ConnectionsConfig;
  /** What would differ, by path. */
  changes: { path: string; before: unknown; after: unknown }[];
  /** How many users have the kit. */
  users: number;
  /** How many keys are scoped to it, or sealed to one of its users. */
  keys: number;
  /** How many models may be called before and after, and which change sides. */
  models: {
    known: number;
    allowed_before: number;
    allowed_after: number;
    allowed: { count: number; names: string[] };
    denied: { count: number; names: string[] };
  };
}
