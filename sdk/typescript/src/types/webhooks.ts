/** Webhooks: addresses of yours that are told what happens, and what they are told. */
import type { ListParams } from '../paging.js';
import type { Key } from './auth.js';
import type { LedgerAction } from './billing.js';

/** What a webhook can listen to. */
export type WebhookEventType =
  | 'credits.low'
  | 'credits.exhausted'
  | 'credits.topped_up'
  | 'key.created'
  | 'key.revoked'
  | 'generation.corrected';

/** An endpoint of your company's. */
export interface Webhook {
  /** UUID. */
  id: string;
  /** Where events go. */
  url: string;
  /** For people. */
  description: string;
  /** What it hears of. */
  events: WebhookEventType[];
  /** Whether it hears of anything. */
  enabled: boolean;
  /** Since when not. */
  disabled_at: string | null;
  /** `failing`: nothing but failures for five days; `gone`: it answered 410. */
  disabled_reason: 'by_hand' | 'failing' | 'gone' | null;
  /** The first failure since the last success. */
  failing_since: string | null;
  /** When it was made. */
  created_at: string;
}

/** An endpoint with its new secret, which is shown only this once. */
export interface IssuedWebhook extends Webhook {
  /** `whsec_…`: what `webhooks.verify` takes. */
  secret: string;
}

/** A page of webhooks. */
export interface WebhookList {
  /** The newest first. */
  webhooks: Webhook[];
  /** Where the next page begins; null at the end. */
  next_cursor: string | null;
}

/** An endpoint to be added. */
export interface WebhookCreateParams {
  /** An https:// address that the public internet reaches. */
  url: string;
  /** What it wants to hear of. */
  events: WebhookEventType[];
  /** For people. */
  description?: string;
}

/** What is to change about an endpoint. */
export interface WebhookUpdateParams {
  /** Another address. */
  url?: string;
  /** What it wants to hear of. */
  events?: WebhookEventType[];
  /** For people. */
  description?: string;
  /** false: it hears of nothing, and what was on its way to it has failed. */
  enabled?: boolean;
}

/** One event on its way to one endpoint, and what came of its last attempt. */
export interface WebhookDelivery {
  /** UUID. */
  id: string;
  /** Which endpoint. */
  webhook_id: string;
  /** The header `webhook-id`: the same in every attempt and every replay. */
  message_id: string;
  /** What it tells of. */
  type: WebhookEventType | 'webhook.test';
  /** How it stands. */
  state: 'pending' | 'delivered' | 'failed';
  /** How often it was tried. */
  attempts: number;
  /** When it is tried again. */
  next_attempt_at: string | null;
  /** When it was tried last. */
  last_attempt_at: string | null;
  /** When it arrived. */
  delivered_at: string | null;
  /** What the endpoint answered. */
  status_code: number | null;
  /** Why the last attempt was no success. */
  error: string | null;
  /** The beginning of what the endpoint answered. */
  answer: string;
  /** How long that took. */
  duration_ms: number | null;
  /** The delivery that this one repeats. */
  replay_of: string | null;
  /** When the event happened. */
  created_at: string;
  /** What is sent: `{type, timestamp, data}`. */
  payload: Record<string, unknown>;
}

/** A page of the log of deliveries. */
export interface WebhookDeliveryList {
  /** The newest first. */
  deliveries: WebhookDelivery[];
  /** Where the next page begins; null at the end. */
  next_cursor: string | null;
}

/** Which deliveries to list. */
export interface WebhookDeliveryListParams extends ListParams {
  /** Only those in this state. */
  state?: WebhookDelivery['state'];
}

interface Told<Type extends string, Data> {
  /** What happened. */
  type: Type;
  /** When. */
  timestamp: string;
  /** To what. */
  data: Data;
}

/** What is in the wallet, in credits. */
export interface WalletState {
  /** Held ones among them. */
  balance: number;
  /** Set aside for calls that run. */
  held: number;
  /** The balance without what is held. */
  available: number;
}

/** A call that was charged turned out to cost another amount. */
export interface GenerationCorrected {
  /** Upstream's `gen-…`. */
  id: string;
  /** Ours. */
  naive_generation_id: string;
  /** 1 for the first correction. */
  number: number;
  /** Where the better figure came from. */
  source: string;
  /** USD, now. */
  total_cost: number;
  /** Credits, now. */
  credits_used: number;
  /** Credits, until now. */
  credits_used_before: number;
  /** Of the ledger's entry: positive is given back. */
  amount: number;
  /** For whom the call was. */
  user_id: string;
  /** Whose call it was. */
  key_id: string;
  /** The user's kit at the time. */
  account_kit_id: string;
}

/** What a webhook is told; narrow it by `type`. */
export type WebhookEvent =
  | Told<'credits.low' | 'credits.exhausted', WalletState & { threshold: number }>
  | Told<'credits.topped_up', WalletState & { credits: number; action: LedgerAction; reference: string }>
  | Told<'key.created' | 'key.revoked', Omit<Key, 'last_used_at' | 'revoked'>>
  | Told<'generation.corrected', GenerationCorrected>
  | Told<'webhook.test', { webhook_id: string; message: string }>;
