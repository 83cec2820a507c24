/** What an agent is told when a call fails: what happened, which limit or rule it was, what to do next. */
import {
  APIStatusError,
  APITimeoutError,
  InsufficientCreditsError,
  PermissionDeniedError,
  type NaiveError,
} from '../errors.js';
import { Mistake } from './input.js';

const LIMITS: ReadonlyMap<string | null, string> = new Map([
  ['wallet', "the company's wallet"],
  ['key_cap', "this key's spend cap"],
  ['user_cap', "this user's monthly allowance"],
]);
const CHEAPER = 'Choose a cheaper model (list models with max_price), lower max_tokens, or shorten the prompt.';
const NEXT_FOR_REASON: ReadonlyMap<string | null, string> = new Map([
  ['primitive_disabled_by_kit', 'No other call to this primitive will pass; who administers the kit can open it.'],
  ['model_not_allowed_by_kit', 'List the models: what is listed is allowed.'],
  ['max_cost_usd_per_call', CHEAPER],
  ['user_suspended', 'No call for this user will pass until it is reactivated.'],
  ['key_subject_mismatch', 'Leave user_id out.'],
]);

/** Return an error as one short text for a model. */
export function told(error: NaiveError): string {
  if (error instanceof Mistake) return error.message;
  const head = `${error.status ? `${error.status} ` : ''}${error.code}: ${error.message}`;
  const id = error.requestId ? `(${error.requestId})` : null;
  return [head, ...specifics(error), id].filter(Boolean).join(' ');
}

function specifics(error: NaiveError): (string | null)[] {
  if (error instanceof InsufficientCreditsError) return shortOfCredits(error);
  if (error instanceof PermissionDeniedError) return [NEXT_FOR_REASON.get(error.reason) ?? error.hint];
  if (error instanceof APIStatusError) return status(error);
  if (error instanceof APITimeoutError) {
    return ['It may have run and been charged; look at naive_usage before you call again.'];
  }
  return [error.hint];
}

function shortOfCredits({ limit, required, available }: InsufficientCreditsError): string[] {
  const named = `${LIMITS.get(limit) ?? 'a limit on credits'}${limit ? ` (${limit})` : ''}`;
  const isTold = required !== null && available !== null;
  const amounts = isTold ? `: needs ${plain(required)} credits, ${plain(available)} left` : '';
  return [`Limit: ${named}${amounts}.`, CHEAPER];
}

function status(error: APIStatusError): (string | null)[] {
  if (error.headers?.get('x-should-retry') === 'false') {
    return [error.hint, 'Do not repeat it blindly: it may have been charged.'];
  }
  return [error.retryAfterS === null ? error.hint : `Come back in ${error.retryAfterS} s.`];
}

// Without an exponent: nanocredits have nine decimals.
function plain(amount: number): string {
  return /e-/.test(String(amount)) ? amount.toFixed(12).replace(/0+$/, '') : String(amount);
}
