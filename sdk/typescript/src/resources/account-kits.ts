/** Account kits: what the users who have one may do. */
import { APIPromise, type Answer } from '../answers.js';
import { list, type PagePromise } from '../paging.js';
import { parse, path, type RequestOptions, type Transport } from '../transport.js';
import type * as types from '../types/account-kits.js';
import type { User } from '../types/users.js';

/** Options of a change that is to be made to what was read, or not at all. */
export interface IfMatchOptions extends RequestOptions {
  /** The `etag` that was read. Throws `PreconditionFailedError` where the kit has changed since. */
  ifMatch?: string | undefined;
}

/** Options of a read that may find nothing new. */
export interface IfNoneMatchOptions extends RequestOptions {
  /** The `etag` that you have. */
  ifNoneMatch: string;
}

/** `naive.accountKits`: policies that users are given. A change acts on their next call. */
export class AccountKits {
  readonly #transport: Transport;

  /** Made by the client. */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** List kits, the newest first. */
  list(
    params: types.AccountKitListParams = {},
    options: RequestOptions = {},
  ): PagePromise<types.AccountKitList, types.AccountKitRow> {
    return list(this.#transport, { method: 'GET', path: '/v1/account-kits', query: params }, 'account_kits', options);
  }

  /** Make a kit. */
  create(params: types.AccountKitCreateParams, options?: RequestOptions): APIPromise<Answer<types.AccountKit>> {
    return this.#transport.json({ method: 'POST', path: '/v1/account-kits', body: params }, options);
  }

  /** Return a kit; with `ifNoneMatch`, null where it is still the same. */
  get(kitId: string, options: IfNoneMatchOptions): APIPromise<Answer<types.AccountKit> | null>;
  get(kitId: string, options?: RequestOptions): APIPromise<Answer<types.AccountKit>>;
  get(
    kitId: string,
    { ifNoneMatch, ...options }: RequestOptions & { ifNoneMatch?: string } = {},
  ): APIPromise<Answer<types.AccountKit> | null> {
    const headers = ifNoneMatch === undefined ? {} : { 'if-none-match': ifNoneMatch };
    const request = { method: 'GET', path: path`/v1/account-kits/${kitId}`, headers } as const;
    return new APIPromise(this.#transport.reply(request, options), (reply) =>
      reply.status === 304 ? null : parse<types.AccountKit>(reply),
    );
  }

  /** Change a kit: `primitives_config` is merged by primitive and field, null removes. */
  update(
    kitId: string,
    params: types.AccountKitUpdateParams,
    options: IfMatchOptions = {},
  ): APIPromise<Answer<types.AccountKit>> {
    return this.#conditional({ method: 'PATCH', path: path`/v1/account-kits/${kitId}`, body: params }, options);
  }

  /** Delete a kit. Throws `ConflictError` where it is the default, or in use (`details.users`, `details.keys`). */
  delete(kitId: string, options: IfMatchOptions = {}): APIPromise<Answer<types.Deleted>> {
    return this.#conditional({ method: 'DELETE', path: path`/v1/account-kits/${kitId}` }, options);
  }

  /** Give one user this kit. */
  assignUser(kitId: string, userId: string, options?: RequestOptions): APIPromise<Answer<User>> {
    const request = { method: 'POST', path: path`/v1/account-kits/${kitId}/users/${userId}/assign` } as const;
    return this.#transport.json(request, options);
  }

  /** Give many users this kit, all or none. */
  assign(kitId: string, params: types.AssignParams, options?: RequestOptions): APIPromise<Answer<types.Assigned>> {
    const request = { method: 'POST', path: path`/v1/account-kits/${kitId}/assign`, body: params } as const;
    return this.#transport.json(request, options);
  }

  /** Say what a user of the kit may do now, and by whose word. */
  effective(kitId: string, options?: RequestOptions): APIPromise<Answer<types.EffectiveAccountKit>> {
    return this.#transport.json({ method: 'GET', path: path`/v1/account-kits/${kitId}/effective` }, options);
  }

  /** Say what an update would do; nothing is written. */
  preview(
    kitId: string,
    params: types.AccountKitPreviewParams,
    options?: RequestOptions,
  ): APIPromise<Answer<types.AccountKitPreview>> {
    const request = { method: 'POST', path: path`/v1/account-kits/${kitId}/preview`, body: params } as const;
    return this.#transport.json(request, options);
  }

  #conditional<T extends object>(
    request: { method: 'PATCH' | 'DELETE'; path: string; body?: object },
    { ifMatch, ...options }: IfMatchOptions,
  ): APIPromise<Answer<T>> {
    const headers = ifMatch === undefined ? {} : { 'if-match': ifMatch };
    return this.#transport.json({ ...request, headers }, options);
  }
}
