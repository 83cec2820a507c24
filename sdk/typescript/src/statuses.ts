/** Which error an HTTP answer stands for. */
import {
  APIStatusError,
  AuthenticationError,
  BadRequestError,
  ConflictError,
  InsufficientCreditsError,
  InternalServerError,
  NotConfiguredError,
  NotFoundError,
  PayloadTooLargeError,
  PermissionDeniedError,
  PreconditionFailedError,
  ProviderError,
  ProviderTimeoutError,
  RateLimitError,
  ServiceUnavailableError,
  UnprocessableEntityError,
  type ErrorFacts,
} from './errors.js';

const BY_STATUS: ReadonlyMap<number, new (facts: ErrorFacts) => APIStatusError> = new Map([
  [400, BadRequestError],
  [401, AuthenticationError],
  [402, InsufficientCreditsError],
  [403, PermissionDeniedError],
  [404, NotFoundError],
  [409, ConflictError],
  [412, PreconditionFailedError],
  [413, PayloadTooLargeError],
  [422, UnprocessableEntityError],
  [429, RateLimitError],
  [500, InternalServerError],
  [501, NotConfiguredError],
  [502, ProviderError],
  [503, ServiceUnavailableError],
  [504, ProviderTimeoutError],
]);
const TEXT_SHOWN_MAX = 200;

/**
 * Return the error that an answer stands for.
 *
 * Any body will do: what is not the platform's shape (a proxy's page, say) becomes `unexpected_answer` with its beginning.
 */
export function errorFromAnswer(status: number, headers: Headers, text: string): APIStatusError {
  const body = parsed(text);
  const said = record(record(body)?.['error']);
  const shown = text.trim().slice(0, TEXT_SHOWN_MAX);
  const Kind = BY_STATUS.get(status) ?? APIStatusError;
  return new Kind({
    status,
    code: string(said?.['code']) ?? 'unexpected_answer',
    message: string(said?.['message']) ?? `HTTP ${status}${shown ? `: ${shown}` : ''}`,
    hint: string(said?.['hint']) ?? redirectHint(status, headers),
    details: record(said?.['details']) ?? {},
    requestId: headers.get('x-request-id') ?? string(said?.['request_id']),
    headers,
    body,
  });
}

function redirectHint(status: number, headers: Headers): string | null {
  const isRedirect = status >= 300 && status < 400;
  return isRedirect ? `The SDK follows no redirects; is baseURL right? It points to ${headers.get('location')}.` : null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function record(value: unknown): Record<string, unknown> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : null;
}

function string(value: unknown): string | null {
  return typeof value === 'string' && value ? value : null;
}
