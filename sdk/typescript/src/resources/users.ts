/** Tenant users, and session tokens for their devices. */
import type { APIPromise, Answer } from '../answers.js';
import { list, type ListParams, type PagePromise } from '../paging.js';
import { path, type RequestOptions, type Transport } from '../transport.js';
import type { UsageParams, UserUsage, LedgerEntry } from '../types/billing.js';
import type * as types from '../types/users.js';

/** `naive.users`: the end users for whom your company calls. Everywhere, an id may be `ext:<external_id>` too. */
export class Users {
  /** Tokens that let a user's own device call. */
  readonly sessions: Sessions;
  readonly #transport: Transport;

  /** Made by the client. */
  constructor(transport: Transport) {
    this.#transport = transport;
    this.sessions = new Sessions(transport);
  }

  /** List users, the newest first. */
  list(params: types.UserListParams = {}, options: RequestOptions = {}): PagePromise<types.UserList, types.User> {
    return list(this.#transport, { method: 'GET', path: '/v1/users', query: params }, 'users', options);
  }

  /** Make a user. Throws `ConflictError` where the `external_id` is taken; `details.existing_id` says by whom. */
  create(params: types.UserCreateParams = {}, options?: RequestOptions): APIPromise<Answer<types.User>> {
    return this.#transport.json({ method: 'POST', path: '/v1/users', body: params }, options);
  }

  /** Return a user. */
  get(userId: string, options?: RequestOptions): APIPromise<Answer<types.User>> {
    return this.#transport.json({ method: 'GET', path: path`/v1/users/${userId}` }, options);
  }

  /** Change a user; what is left out stays. */
  update(userId: string, params: types.UserUpdateParams, options?: RequestOptions): APIPromise<Answer<types.User>> {
    return this.#transport.json({ method: 'PATCH', path: path`/v1/users/${userId}`, body: params }, options);
  }

  /** Suspend a user, whose calls are refused from then on; `update` with `status: 'active'` lets it in again. */
  delete(userId: string, options?: RequestOptions): APIPromise<Answer<types.User>> {
    return this.#transport.json({ method: 'DELETE', path: path`/v1/users/${userId}` }, options);
  }

  /** Return what was spent for a user. */
  usage(
    userId: string,
    params: Omit<UsageParams, 'user_id'> = {},
    options: RequestOptions = {},
  ): PagePromise<UserUsage, LedgerEntry> {
    const request = { method: 'GET', path: path`/v1/users/${userId}/usage`, query: params } as const;
    return list(this.#transport, request, 'transactions', options);
  }
}

/** `naive.users.sessions`: short-lived tokens, each for one user. */
export class Sessions {
  readonly #transport: Transport;

  /** Made by the client. */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Make a token: the `apiKey` of a client on the user's own device. */
  create(
    userId: string,
    params: types.SessionCreateParams = {},
    options?: RequestOptions,
  ): APIPromise<Answer<types.IssuedSession>> {
    return this.#transport.json({ method: 'POST', path: path`/v1/users/${userId}/sessions`, body: params }, options);
  }

  /** List a user's sessions that have not ended. */
  list(
    userId: string,
    params: ListParams = {},
    options: RequestOptions = {},
  ): PagePromise<types.SessionList, types.Session> {
    const request = { method: 'GET', path: path`/v1/users/${userId}/sessions`, query: params } as const;
    return list(this.#transport, request, 'sessions', options);
  }

  /** End a session now. */
  revoke(userId: string, sessionId: string, options?: RequestOptions): APIPromise<Answer<types.Session>> {
    const request = { method: 'DELETE', path: path`/v1/users/${userId}/sessions/${sessionId}` } as const;
    return this.#transport.json(request, options);
  }
}
