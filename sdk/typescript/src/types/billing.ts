/** Credits: what there is, what was spent on what, and how to get more. Amounts are credits unless they say USD. */
import type { ListParams } from '../paging.js';
import type { Role } from './auth.js';

/** What an entry of the ledger is for. */
export type LedgerAction = 'llm_call' | 'credit_topup' | 'grant' | 'refund' | 'correction' | 'chargeback';

/** One line of the ledger; debits are negative. */
export interface LedgerEntry {
  /** Its place in the company's ledger, without gaps. */
  id: number;
  /** What it is for. */
  action: LedgerAction;
  /** Credits; negative where they were taken. */
  amount: number;
  /** Credits there were afterwards. */
  balance_after: number;
  /** What it is about: a generation, a payment … */
  reference: string;
  /** The reference of the entry that this one mends. */
  corrects: string | null;
  /** Who posted it, where a person did. */
  actor: string | null;
  /** Why. */
  note: string;
  /** When. */
  created_at: string;
}

/** A page of the ledger. */
export interface Ledger {
  /** The newest first. */
  entries: LedgerEntry[];
  /** Where the next page begins; null at the end. */
  next_cursor: string | null;
}

/** Which entries to list. */
export interface LedgerParams extends ListParams {
  /** Only entries of this action. */
  action?: LedgerAction;
}

/** A number of credits at a price. */
export interface Pack {
  /** `small`, `medium`, `large` or `xl`. */
  id: string;
  /** For people. */
  name: string;
  /** How many. */
  credits: number;
  /** What they cost. */
  price_usd: number;
  /** Such as "Popular". */
  badge: string | null;
}

/** What can be bought. */
export interface PackList {
  /** The smallest first. */
  packs: Pack[];
}

/** What to buy. */
export interface TopUpParams {
  /** One of {@link Billing.packs}. */
  pack_id: 'small' | 'medium' | 'large' | 'xl';
}

/** A checkout that has been opened: the page on which it is paid, and until when. */
export interface Checkout {
  /** Send the buyer there. */
  checkout_url: string;
  /** The payment provider's id of it. */
  session_id: string;
  /** What is being bought. */
  pack: Pack;
  /** When the page closes. */
  expires_at: string;
}

/** Which month. */
export interface StatementParams {
  /** Such as 2026-11; left out: the month that runs. */
  month?: string;
}

/** A month of the ledger: opening balance + lines = closing balance. */
export interface Statement {
  /** Such as 2026-11. */
  month: string;
  /** Its first moment. */
  starts_at: string;
  /** The moment after its last. */
  ends_at: string;
  /** Whether the month is over. */
  is_closed: boolean;
  /** Whose it is. */
  company: { id: string; name: string };
  /** Credits at its beginning. */
  opening_balance: number;
  /** Credits at its end. */
  closing_balance: number;
  /** One for each action. */
  lines: { action: LedgerAction; count: number; amount: number }[];
}

/** Who asks, for which company, and what credits there are. */
export interface Status {
  /** The credential; `key_id` is null for a person signed in. */
  agent: { key_id: string | null; role: Role; user_id: string };
  /** Whose it is. */
  company: { id: string; name: string; status: 'active' | 'suspended' | 'closed' };
  /** What is left (`available`) is the balance without what is held. */
  credits: { balance: number; held: number; available: number; is_frozen: boolean };
}

/** What groups of usage are made by. */
export type UsageGroupBy = 'hour' | 'day' | 'model' | 'user' | 'key' | 'kit';

/** Which usage to look at. */
export interface UsageParams extends ListParams {
  /** How far back, 30 days if left out. */
  days?: number;
  /** Adds `summary.groups` by this. */
  group_by?: UsageGroupBy;
  /** One tenant user: an id, `ext:<external_id>` or `default`. */
  user_id?: string;
}

/** What calls took in all. */
export interface UsageSums {
  /** Calls that were charged. */
  calls: number;
  /** Calls that cost nothing. */
  voided_calls: number;
  /** Tokens read. */
  tokens_prompt: number;
  /** Tokens written. */
  tokens_completion: number;
  /** USD, before the markup. */
  cost_usd: number;
  /** Credits. */
  credits_used: number;
  /** Credits charged above what was held. */
  overrun: number;
}

/** What calls of one group took. */
export interface UsageGroup extends UsageSums {
  /** A date, an hour, a model or an id, by `group_by`. */
  group: string;
}

/** What calls took since a moment. */
export interface UsageSummary extends UsageSums {
  /** The first moment that counts. */
  since: string;
  /** How far back that is. */
  days: number;
  /** What the groups are made by. */
  group_by?: UsageGroupBy;
  /** One for each. */
  groups?: UsageGroup[];
}

/** A page of what was spent, with the sums of all of it. */
export interface Usage {
  /** Credits there are, held ones among them. */
  balance: number;
  /** Credits set aside for calls that run. */
  held: number;
  /** The newest first. */
  transactions: LedgerEntry[];
  /** Where the next page begins; null at the end. */
  next_cursor: string | null;
  /** Sums of the whole time asked for. */
  summary: UsageSummary;
}

/** What was spent for one tenant user. */
export interface UserUsage extends Usage {
  /** Whose it is. */
  user_id: string;
}
