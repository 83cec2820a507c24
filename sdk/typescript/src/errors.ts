/**
 * The tree of errors. All of them are a `NaiveError`; what the platform answers is one class for each status.
 *
 *     NaiveError
 *     ├── APIStatusError: what the platform answered
 *     │   ├── BadRequestError 400 · AuthenticationError 401 · InsufficientCreditsError 402 · PermissionDeniedError 403
 *     │   ├── NotFoundError 404 · ConflictError 409 · PreconditionFailedError 412 · PayloadTooLargeError 413
 *     │   ├── UnprocessableEntityError 422 · RateLimitError 429
 *     │   ├── InternalServerError 500 · NotConfiguredError 501 · ProviderError 502
 *     │   └── ServiceUnavailableError 503 · ProviderTimeoutError 504
 *     ├── APIConnectionError ── APITimeoutError
 *     ├── InvalidResponseError · ConfigurationError
 *     ├── StreamInterruptedError
 *     └── WebhookVerificationError
 */
import type { Pack } from './types/billing.js';

/** What an error is made of. */
export interface ErrorFacts {
  /** HTTP's; null where no answer came. */
  status?: number | null;
  /** For programs; it never changes. */
  code: string;
  /** What and which. */
  message: string;
  /** What next. */
  hint?: string | null;
  /** What programs need beside it. */
  details?: Record<string, unknown>;
  /** Names the request, in the platform's logs too. */
  requestId?: string | null;
  /** The answer's. */
  headers?: Headers | null;
  /** The answer as it came: parsed where it is JSON, else its text. */
  body?: unknown;
  /** What it came from. */
  cause?: unknown;
}

/** Whatever goes wrong between you and Naive. */
export class NaiveError extends Error {
  override name = 'NaiveError';
  /** HTTP's; null where no answer came. */
  readonly status: number | null;
  /** For programs, such as `insufficient_credits`; it never changes. */
  readonly code: string;
  /** What to do next, where the platform says so. */
  readonly hint: string | null;
  /** What programs need beside the message: `reason`, `field`, `limit` … */
  readonly details: Readonly<Record<string, unknown>>;
  /** Names the request, in the platform's logs too. */
  readonly requestId: string | null;
  /** The answer's headers; null where no answer came. */
  declare readonly headers: Headers | null;
  /** The answer as it came: parsed where it is JSON, else its text. */
  declare readonly body: unknown;

  /** Made by the SDK; make one yourself only to test what you do about it. */
  constructor(facts: ErrorFacts) {
    super(facts.message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.status = facts.status ?? null;
    this.code = facts.code;
    this.hint = facts.hint ?? null;
    this.details = facts.details ?? {};
    this.requestId = facts.requestId ?? null;
    // Not enumerable: what is printed is the error, not the whole answer.
    Object.defineProperty(this, 'headers', { value: facts.headers ?? null });
    Object.defineProperty(this, 'body', { value: facts.body });
  }

  /** What a 403 or a 404 names as its reason, such as `model_not_allowed_by_kit` or `user_suspended`. */
  get reason(): string | null {
    return typeof this.details['reason'] === 'string' ? this.details['reason'] : null;
  }

  /** The call to a model that this is about: `naive.llm.generation(…)` says what became of it. */
  get generationId(): string | null {
    const said = this.details['generation_id'];
    return typeof said === 'string' ? said : (this.headers?.get('x-naive-generation-id') ?? null);
  }
}

/** Nothing was sent: a key, an address or an argument is missing or cannot be right. */
export class ConfigurationError extends NaiveError {
  override name = 'ConfigurationError';
}

/** An answer came that is none of the platform's: not JSON, or of another shape. */
export class InvalidResponseError extends NaiveError {
  override name = 'InvalidResponseError';
}

/** The platform answered with an error; each status has a class below this one. */
export class APIStatusError extends NaiveError {
  override name = 'APIStatusError';

  /** Seconds until it is worth asking again, where that is known. */
  get retryAfterS(): number | null {
    const said = this.headers?.get('retry-after');
    return said && /^\d+(\.\d+)?$/.test(said) ? Number(said) : null;
  }
}

/** 400: the request is not what the platform takes; `details.field` says where. */
export class BadRequestError extends APIStatusError {
  override name = 'BadRequestError';
}

/** 401: no key, or one that opens nothing. */
export class AuthenticationError extends APIStatusError {
  override name = 'AuthenticationError';
}

/** 402: a wallet, a cap or an allowance does not cover the call. */
export class InsufficientCreditsError extends APIStatusError {
  override name = 'InsufficientCreditsError';

  /** What was short: `wallet`, `key_cap` or `user_cap`. */
  get limit(): string | null {
    return typeof this.details['limit'] === 'string' ? this.details['limit'] : null;
  }

  /** Credits that the call needs at least. */
  get required(): number | null {
    return typeof this.details['required'] === 'number' ? this.details['required'] : null;
  }

  /** Credits that are there and not held. */
  get available(): number | null {
    return typeof this.details['available'] === 'number' ? this.details['available'] : null;
  }

  /** What can be bought. */
  get packs(): Pack[] {
    const packs = (this.body as { packs?: unknown } | null | undefined)?.packs;
    return Array.isArray(packs) ? (packs as Pack[]) : [];
  }
}

/** 403: a kit, a key's scope or a suspension says no; `reason` says which. */
export class PermissionDeniedError extends APIStatusError {
  override name = 'PermissionDeniedError';
}

/** 404: it is not there, or not yours. */
export class NotFoundError extends APIStatusError {
  override name = 'NotFoundError';
}

/** 409: it is there already, in use, or was done before. */
export class ConflictError extends APIStatusError {
  override name = 'ConflictError';
}

/** 412: it has been changed since you read it. */
export class PreconditionFailedError extends APIStatusError {
  override name = 'PreconditionFailedError';
}

/** 413: the body is too large. */
export class PayloadTooLargeError extends APIStatusError {
  override name = 'PayloadTooLargeError';
}

/** 422: the Idempotency-Key was used for another request, or a provider could not make sense of this one. */
export class UnprocessableEntityError extends APIStatusError {
  override name = 'UnprocessableEntityError';
}

/** 429: too many calls. The SDK has waited and tried again already. */
export class RateLimitError extends APIStatusError {
  override name = 'RateLimitError';
}

/** 500: the platform failed. */
export class InternalServerError extends APIStatusError {
  override name = 'InternalServerError';
}

/** 501: the operator has not set this up; `details.missing` says what. */
export class NotConfiguredError extends APIStatusError {
  override name = 'NotConfiguredError';
}

/** 502: the model's provider failed. */
export class ProviderError extends APIStatusError {
  override name = 'ProviderError';
}

/** 503: not now. */
export class ServiceUnavailableError extends APIStatusError {
  override name = 'ServiceUnavailableError';
}

/** 504: the model's provider did not answer in time. */
export class ProviderTimeoutError extends APIStatusError {
  override name = 'ProviderTimeoutError';
}

/** No answer came: no connection, or one that broke. */
export class APIConnectionError extends NaiveError {
  override name = 'APIConnectionError';
}

/** No answer came within `timeout`. */
export class APITimeoutError extends APIConnectionError {
  override name = 'APITimeoutError';
}

/** A stream broke off: what came before it is here, and `generationId` leads to what it cost. */
export class StreamInterruptedError extends NaiveError {
  override name = 'StreamInterruptedError';
  /** The text so far. */
  readonly text: string;

  /** Made by the SDK; make one yourself only to test what you do about it. */
  constructor(facts: ErrorFacts & { generationId: string | null; text: string }) {
    const { generationId, details } = facts;
    super({ ...facts, details: generationId ? { generation_id: generationId, ...details } : (details ?? {}) });
    this.text = facts.text;
  }
}

/** A webhook's message is not from the platform, was changed, or is too old: answer it with 400. */
export class WebhookVerificationError extends NaiveError {
  override name = 'WebhookVerificationError';
}
