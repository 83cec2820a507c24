/** Who changed what. */
import type { ListParams } from '../paging.js';

/** Who acted; `person_id` is the person behind a credential, where one is known. */
export interface AuditActor {
  /** What kind of caller. */
  kind: 'key' | 'session' | 'person' | 'operator' | 'platform';
  /** Which. */
  id: string | null;
  /** For people. */
  label: string;
  /** The person behind it. */
  person_id: string | null;
}

/** One change: what differs, before and after, secrets masked. */
export interface AuditEntry {
  /** UUID. */
  id: string;
  /** Such as `account_kit.updated`. */
  action: string;
  /** Who did it. */
  actor: AuditActor;
  /** From where. */
  ip: string | null;
  /** The `X-Request-Id` of the answer. */
  request_id: string;
  /** What was changed. */
  target: { kind: string; id: string; label: string };
  /** What it was. */
  before: Record<string, unknown> | null;
  /** What it became. */
  after: Record<string, unknown> | null;
  /** Why, where that was said. */
  reason: string;
  /** When. */
  created_at: string;
}

/** A page of the audit log. */
export interface AuditEntryList {
  /** The newest first. */
  audit_entries: AuditEntry[];
  /** Where the next page begins; null at the end. */
  next_cursor: string | null;
}

/** Which changes to look at. */
export interface AuditFilters {
  /** Such as `account_kit.updated`. */
  action?: string;
  /** What kind of caller did it. */
  actor_kind?: AuditActor['kind'];
  /** The id of the key, session token or person. */
  actor_id?: string;
  /** Such as `account_kit`. */
  target_kind?: string;
  /** The id of what was changed. */
  target_id?: string;
  /** The `X-Request-Id` of the answer. */
  request_id?: string;
  /** The first moment. */
  since?: string | Date;
  /** The moment after the last. */
  until?: string | Date;
}

/** Which changes to list. */
export interface AuditListParams extends AuditFilters, ListParams {}

/** Which changes to export, and how. */
export interface AuditExportParams extends AuditFilters {
  /** The form of the file. */
  format?: 'csv' | 'jsonl';
}
