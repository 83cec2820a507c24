/** Tenant users, and the session tokens that are handed to their devices. */
import type { ListParams } from '../paging.js';

/** A tenant user: an end user of your company, for whom calls are made. */
export interface User {
  /** UUID. */
  id: string;
  /** Your own id of the user, which stands for it as `ext:<external_id>`. */
  external_id: string | null;
  /** An address, or nothing. */
  email: string;
  /** A name for people. */
  label: string;
  /** Calls of a suspended user are refused. */
  status: 'active' | 'suspended';
  /** The kit that says what it may do. */
  account_kit_id: string;
  /** Calls that name no user are for this one. */
  is_default: boolean;
  /** Whatever belongs to it. */
  metadata: Record<string, unknown>;
  /** When it was made. */
  created_at: string;
  /** Its last call. */
  last_active_at: string | null;
}

/** A user to be made; everything may be left out. */
export interface UserCreateParams {
  /** Your own id of the user; unique in your company. */
  external_id?: string | null;
  /** An address. */
  email?: string;
  /** A name for people. */
  label?: string;
  /** Left out: the default kit. Takes the role that assigns kits. */
  account_kit_id?: string;
  /** Whatever belongs to it, at most 16 kB. */
  metadata?: Record<string, unknown>;
}

/** What is to change about a user. */
export interface UserUpdateParams {
  /** Your own id of the user; unique in your company. */
  external_id?: string | null;
  /** An address. */
  email?: string;
  /** A name for people. */
  label?: string;
  /** Takes the role that assigns kits. */
  account_kit_id?: string;
  /** Merged into what is there; null removes a key. */
  metadata?: Record<string, unknown>;
  /** Suspend, or let in again. */
  status?: 'active' | 'suspended';
}

/** Which users to list. */
export interface UserListParams extends ListParams {
  /** What the e-mail address, the label or the external id begins with, whatever the case. */
  search?: string;
  /** Only these. */
  status?: 'active' | 'suspended';
  /** Only users of this kit. */
  account_kit_id?: string;
  /** Exactly this one. */
  external_id?: string;
  /** Created then or later. */
  created_since?: string | Date;
  /** Created before then. */
  created_until?: string | Date;
}

/** A page of users. */
export interface UserList {
  /** The newest first. */
  users: User[];
  /** Where the next page begins; null at the end. */
  next_cursor: string | null;
}

/** A session token without its secret; `key_id` issued it, and its calls count as that key's. */
export interface Session {
  /** UUID. */
  id: string;
  /** For whom it speaks. */
  user_id: string;
  /** The key that issued it. */
  key_id: string;
  /** When it ends. */
  expires_at: string;
  /** When it was made. */
  created_at: string;
  /** When it was ended early. */
  revoked_at: string | null;
}

/** A new session with its token, which is shown only here. */
export interface IssuedSession extends Session {
  /** For the user's own device: the `apiKey` of a client there. */
  token: string;
}

/** A token to be made. */
export interface SessionCreateParams {
  /** How long it lasts, 15 minutes if left out; no longer than the key that issues it. */
  ttl_seconds?: number;
}

/** A page of sessions that have not ended. */
export interface SessionList {
  /** The newest first. */
  sessions: Session[];
  /** Where the next page begins; null at the end. */
  next_cursor: string | null;
}
