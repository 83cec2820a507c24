/** API keys, signing in, and who asks. */
import type { ListParams } from '../paging.js';
import type { User } from './users.js';

/** What a person or a key may do in a company. */
export type Role = 'owner' | 'admin' | 'member' | 'viewer';

/** How long a spend cap counts: UTC days, weeks from Monday, months, or all time. */
export type CapPeriod = 'day' | 'week' | 'month' | 'total';

/** An API key without its secret; `last_4` is how that ends. */
export interface Key {
  /** UUID. */
  id: string;
  /** For people. */
  name: string;
  /** The secret's last characters. */
  last_4: string;
  /** What it may do. */
  role: Role;
  /** The person who made it; null: the operator. */
  created_by: string | null;
  /** The only kit whose users it may act for. */
  account_kit_id: string | null;
  /** The only tenant user it may act for. */
  active_tenant_user_id: string | null;
  /** So many credits in a `cap_period`. */
  cap_credits: number | null;
  /** How long the cap counts. */
  cap_period: CapPeriod | null;
  /** Of the key and its successors together. */
  requests_per_minute: number | null;
  /** The key whose successor this one is. */
  rotated_from: string | null;
  /** When it ends; null: never. */
  expires_at: string | null;
  /** Written twice a minute. */
  last_used_at: string | null;
  /** When it was made. */
  created_at: string;
  /** Whether it opens nothing any more. */
  revoked: boolean;
  /** Since when. */
  revoked_at: string | null;
}

/** A new key with its secret, which is shown only here. */
export interface IssuedKey extends Key {
  /** Keep it: it is not shown again. */
  api_key: string;
}

/** A page of keys. */
export interface KeyList {
  /** The newest first. */
  keys: Key[];
  /** Where the next page begins; null at the end. */
  next_cursor: string | null;
}

/** Which keys to list. */
export interface KeyListParams extends ListParams {
  /** Only revoked keys, or only the others. */
  revoked?: boolean;
  /** Only keys for this kit. */
  account_kit_id?: string;
  /** Only keys sealed to this tenant user: an id, `ext:<external_id>` or `default`. */
  user_id?: string;
}

/** A key to be made. */
export interface KeyCreateParams {
  /** For people. */
  name: string;
  /** At most your own; `member` if left out. */
  role?: Role;
  /** Only for tenant users of this kit, and on the typed routes. */
  account_kit_id?: string | null;
  /** Sealed to one tenant user: an id, `ext:<external_id>` or `default`. */
  active_tenant_user_id?: string | null;
  /** So many credits in a `cap_period`; both or neither. */
  cap_credits?: number | null;
  /** How long the cap counts. */
  cap_period?: CapPeriod | null;
  /** Of the key and its successors together; null: the platform's default. */
  requests_per_minute?: number | null;
  /** When it ends; null or left out: never. */
  expires_at?: string | null;
}

/** What is to change about a key; role and scope never do. */
export interface KeyUpdateParams {
  /** For people. */
  name?: string;
  /** So many credits in a `cap_period`; both or neither. */
  cap_credits?: number | null;
  /** How long the cap counts. */
  cap_period?: CapPeriod | null;
  /** Of the key and its successors together; null: the platform's default. */
  requests_per_minute?: number | null;
  /** When it ends; null: never. */
  expires_at?: string | null;
}

/** How a key is replaced. */
export interface KeyRotateParams {
  /** How long the old key goes on working, 24 if left out; 0 ends it at once. */
  overlap_hours?: number;
}

/** A company's name and id. */
export interface NamedCompany {
  /** UUID. */
  id: string;
  /** For people. */
  name: string;
}

/** Who asks, and what that opens. */
export interface Me {
  /** `session` for a session token. */
  kind: 'key' | 'session' | 'person';
  /** What it may do. */
  role: Role;
  /** Opens the typed llm routes and reads of its own user alone. */
  is_narrow: boolean;
  /** Whose it is. */
  company: NamedCompany & { status: 'active' | 'suspended' | 'closed' };
  /** The tenant user for whom its calls are where they name nobody. */
  user: User;
  /** The only kit whose users it may act for. */
  account_kit_id: string | null;
  /** The only tenant user it may act for. */
  active_tenant_user_id: string | null;
  /** When it ends. */
  expires_at: string | null;
  /** The session token that asks. */
  session_id: string | null;
  /** The key that asks, or that issued the session token. */
  key: {
    id: string;
    name: string;
    cap_credits: number | null;
    cap_period: CapPeriod | null;
    requests_per_minute: number | null;
  } | null;
  /** Who is signed in, with a password or by a key of their own. */
  person: { id: string; name: string; email: string } | null;
  /** That person's. */
  companies: NamedCompany[];
}

/** A company to be founded, with its first person. */
export interface RegisterParams {
  /** Your own. */
  name: string;
  /** Yours; it takes one registration. */
  email: string;
  /** At least 8 characters. */
  password: string;
  /** Left out: your own name. */
  company_name?: string | null;
}

/** A new company, and the key to it, which is shown only here. */
export interface Registered {
  /** Keep it: it is not shown again. */
  api_key: string;
  /** UUID. */
  company_id: string;
  /** For people. */
  company_name: string;
  /** The default tenant user: for whom calls are that name nobody. */
  user_id: string;
  /** The opening grant, in credits. */
  credits_remaining: number;
  /** What to do next. */
  hint: string;
}

/** Who signs in. */
export interface LoginParams {
  /** The address you registered with. */
  email: string;
  /** Yours. */
  password: string;
  /** Of a second factor, by people who have one. */
  mfa_code?: string | null;
}

/** A new personal key with your role in the company. */
export interface LoggedIn {
  /** Keep it: it is not shown again. */
  api_key: string;
  /** UUID. */
  company_id: string;
  /** For people. */
  company_name: string;
  /** Your role there. */
  role: Role;
  /** All of yours; `selectCompany` opens another one. */
  companies: NamedCompany[];
}

/** Which of your companies to go on in. */
export interface SelectCompanyParams {
  /** One of `companies`. */
  company_id: string;
}

/** The company that was chosen, with a key for it. */
export interface SelectedCompany {
  /** Keep it: it is not shown again. */
  api_key: string | null;
  /** UUID. */
  company_id: string;
  /** For people. */
  company_name: string;
  /** Your role there. */
  role: Role;
  /** All of yours. */
  companies: NamedCompany[];
}
