/** Whether a webhook's message is from the platform: Standard Webhooks, by WebCrypto. */
import { WebhookVerificationError } from './errors.js';
import { remember } from './money.js';
import type { WebhookEvent } from './types/webhooks.js';

/** Older messages may be somebody's recording. Source: docs/webhooks.md, "Verify". */
const TOLERANCE_S = 300;

/** A message, as it came. */
export interface WebhookMessage {
  /** The body, raw: not parsed, not re-written. */
  body: string | Uint8Array | ArrayBuffer;
  /** The request's headers: `Headers`, or Node's `request.headers`. */
  headers: Headers | Record<string, string | string[] | undefined>;
  /** `whsec_…`, as `naive.webhooks.create` showed it; several while one is being rotated. */
  secret: string | readonly string[];
  /** How far its time may be off, in seconds. */
  toleranceS?: number;
  /** What time it is. */
  now?: Date;
}

/**
 * Return the event that a message holds. Throws `WebhookVerificationError` where it is not from the platform, was
 * changed, or is more than five minutes off; answer that with 400.
 *
 * The same message may come twice: remember its `webhook-id` for a few days.
 */
export async function verify(message: WebhookMessage): Promise<WebhookEvent> {
  const id = header(message, 'webhook-id');
  const timestamp = header(message, 'webhook-timestamp');
  const signatures = header(message, 'webhook-signature');
  requireRecent(timestamp, message);
  const body = bytesOf(message.body);
  const signed = new Uint8Array([...bytesOf(`${id}.${timestamp}.`), ...body]);
  const secrets = typeof message.secret === 'string' ? [message.secret] : message.secret;
  for (const secret of secrets) {
    if (await isSigned(signed, signatures, secret)) return eventOf(body);
  }
  throw refusal('No signature of the message fits the secret and the body as it came.');
}

async function isSigned(signed: Uint8Array<ArrayBuffer>, signatures: string, secret: string): Promise<boolean> {
  const raw = decoded(secret.replace(/^whsec_/, ''));
  if (!raw?.length) throw refusal('The secret is none: it looks like whsec_…, and came with the webhook.');
  const key = await crypto.subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
  for (const signature of signatures.split(' ')) {
    const mac = signature.startsWith('v1,') ? decoded(signature.slice(3)) : null;
    // Takes the same time wherever it differs.
    if (mac && (await crypto.subtle.verify('HMAC', key, mac, signed))) return true;
  }
  return false;
}

function requireRecent(timestamp: string, { toleranceS = TOLERANCE_S, now = new Date() }: WebhookMessage): void {
  const offS = /^\d{1,12}$/.test(timestamp) ? Math.abs(now.getTime() / 1000 - Number(timestamp)) : Infinity;
  if (!(offS <= toleranceS)) throw refusal(`The message's time, ${timestamp}, is more than ${toleranceS} s off.`);
}

function header({ headers }: WebhookMessage, name: string): string {
  const found = headers instanceof Headers ? headers.get(name) : caseless(headers, name);
  if (!found) throw refusal(`The header ${name} is missing.`);
  return found;
}

function caseless(headers: Record<string, string | string[] | undefined>, name: string): string | undefined {
  const found = Object.entries(headers).find(([known]) => known.toLowerCase() === name)?.[1];
  return Array.isArray(found) ? found[0] : found;
}

function eventOf(body: Uint8Array): WebhookEvent {
  const text = new TextDecoder().decode(body);
  const event = JSON.parse(text) as WebhookEvent;
  remember(event, text);
  return event;
}

function bytesOf(body: WebhookMessage['body']): Uint8Array {
  if (typeof body === 'string') return new TextEncoder().encode(body);
  return body instanceof ArrayBuffer ? new Uint8Array(body) : body;
}

function decoded(base64: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    return null;
  }
}

function refusal(message: string): WebhookVerificationError {
  return new WebhookVerificationError({ code: 'webhook_not_verified', message });
}
