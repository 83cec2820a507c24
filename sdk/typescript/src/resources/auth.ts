/** Founding a company, signing in, and asking who asks. */
import type { APIPromise, Answer } from '../answers.js';
import type { RequestOptions, Transport } from '../transport.js';
import type * as types from '../types/auth.js';

/** `naive.auth`: `register` and `login` need no key, so make their client with `apiKey: null`. */
export class Auth {
  readonly #transport: Transport;

  /** Made by the client. */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Found a company. Its owner's key is shown only here. */
  register(params: types.RegisterParams, options?: RequestOptions): APIPromise<Answer<types.Registered>> {
    return this.#transport.json({ method: 'POST', path: '/v1/auth/register', body: params }, options);
  }

  /** Sign in: a new key with your role; older ones stay. */
  login(params: types.LoginParams, options?: RequestOptions): APIPromise<Answer<types.LoggedIn>> {
    return this.#transport.json({ method: 'POST', path: '/v1/auth/login', body: params }, options);
  }

  /** Return a key for another of your companies; takes a personal key, which signing in gives. */
  selectCompany(
    params: types.SelectCompanyParams,
    options?: RequestOptions,
  ): APIPromise<Answer<types.SelectedCompany>> {
    return this.#transport.json({ method: 'POST', path: '/v1/auth/select-company', body: params }, options);
  }

  /** Say who asks, and what that opens. */
  me(options?: RequestOptions): APIPromise<Answer<types.Me>> {
    return this.#transport.json({ method: 'GET', path: '/v1/auth/me' }, options);
  }
}
