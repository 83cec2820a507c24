/** Whether a request is worth another try, and after how long. Pure: no clock, no dice. */

const FIRST_WAIT_MS = 500;
const WAIT_MAX_MS = 8_000;
/** Who is asked to wait longer than this decides for themselves: the error tells them. */
const RETRY_AFTER_MAX_MS = 60_000;

/**
 * Say whether an answer may be better next time.
 *
 * `x-should-retry` has the last word: the platform says `false` where a cost may have occurred.
 */
export function isWorthRetrying(status: number, code: string, headers: Headers): boolean {
  const said = headers.get('x-should-retry');
  if (said === 'true' || said === 'false') return said === 'true';
  if (status === 409) return code === 'idempotency_in_progress';
  return status === 408 || status === 429 || (status >= 500 && status !== 501);
}

/**
 * Return how long to wait before try number `tried + 1`, in ms; null: do not try again.
 *
 * `Retry-After` (seconds or a date) is kept to; without it the wait doubles from 0.5 s to 8 s, less up to a quarter by
 * chance (from 0 to 1), so that many clients do not come back at once.
 */
export function waitMs(given: {
  tried: number;
  headers: Headers | null;
  chance: number;
  nowMs: number;
}): number | null {
  const asked = retryAfterMs(given.headers?.get('retry-after') ?? null, given.nowMs);
  if (asked !== null) return asked > RETRY_AFTER_MAX_MS ? null : asked;
  const most = Math.min(WAIT_MAX_MS, FIRST_WAIT_MS * 2 ** (given.tried - 1));
  return most * (1 - given.chance / 4);
}

function retryAfterMs(said: string | null, nowMs: number): number | null {
  if (said === null) return null;
  if (/^\d+(\.\d+)?$/.test(said)) return Number(said) * 1000;
  const atMs = Date.parse(said);
  return Number.isNaN(atMs) ? null : Math.max(0, atMs - nowMs);
}
