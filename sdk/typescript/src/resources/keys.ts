/** API keys. */
import type { APIPromise, Answer } from '../answers.js';
import { list, type PagePromise } from '../paging.js';
import { path, type RequestOptions, type Transport } from '../transport.js';
import type * as types from '../types/auth.js';

/** `naive.keys`: the keys of your company. */
export class Keys {
  readonly #transport: Transport;

  /** Made by the client. */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** List keys, the newest first. */
  list(params: types.KeyListParams = {}, options: RequestOptions = {}): PagePromise<types.KeyList, types.Key> {
    return list(this.#transport, { method: 'GET', path: '/v1/auth/keys', query: params }, 'keys', options);
  }

  /** Make a key. Its secret, `api_key`, is shown only here. */
  create(params: types.KeyCreateParams, options?: RequestOptions): APIPromise<Answer<types.IssuedKey>> {
    return this.#transport.json({ method: 'POST', path: '/v1/auth/keys', body: params }, options);
  }

  /** Return a key, without its secret. */
  get(keyId: string, options?: RequestOptions): APIPromise<Answer<types.Key>> {
    return this.#transport.json({ method: 'GET', path: path`/v1/auth/keys/${keyId}` }, options);
  }

  /** Change a key's name, limits or end. */
  update(keyId: string, params: types.KeyUpdateParams, options?: RequestOptions): APIPromise<Answer<types.Key>> {
    return this.#transport.json({ method: 'PATCH', path: path`/v1/auth/keys/${keyId}`, body: params }, options);
  }

  /** End a key: within a second it opens nothing any more. */
  revoke(keyId: string, options?: RequestOptions): APIPromise<Answer<types.Key>> {
    return this.#transport.json({ method: 'DELETE', path: path`/v1/auth/keys/${keyId}` }, options);
  }

  /** Issue a successor; the old key goes on working for a day, or as long as you say. */
  rotate(
    keyId: string,
    params: types.KeyRotateParams = {},
    options?: RequestOptions,
  ): APIPromise<Answer<types.IssuedKey>> {
    return this.#transport.json({ method: 'POST', path: path`/v1/auth/keys/${keyId}/rotate`, body: params }, options);
  }
}
