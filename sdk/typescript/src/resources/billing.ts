/** Credits: buying them, and the books. */
import type { APIPromise, Answer } from '../answers.js';
import { list, type PagePromise } from '../paging.js';
import type { RequestOptions, Transport } from '../transport.js';
import type * as types from '../types/billing.js';

/** `naive.billing`: your company's wallet. */
export class Billing {
  readonly #transport: Transport;

  /** Made by the client. */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** List what can be bought. */
  packs(options?: RequestOptions): APIPromise<Answer<types.PackList>> {
    return this.#transport.json({ method: 'GET', path: '/v1/billing/packs' }, options);
  }

  /** Open a checkout; credits come once it is paid. Throws `NotConfiguredError` where the operator sells none. */
  topup(params: types.TopUpParams, options?: RequestOptions): APIPromise<Answer<types.Checkout>> {
    return this.#transport.json({ method: 'POST', path: '/v1/billing/topup', body: params }, options);
  }

  /** List the ledger, the newest first. */
  ledger(params: types.LedgerParams = {}, options: RequestOptions = {}): PagePromise<types.Ledger, types.LedgerEntry> {
    return list(this.#transport, { method: 'GET', path: '/v1/billing/ledger', query: params }, 'entries', options);
  }

  /** Return a month: opening balance + lines = closing balance. */
  statement(params: types.StatementParams = {}, options?: RequestOptions): APIPromise<Answer<types.Statement>> {
    return this.#transport.json({ method: 'GET', path: '/v1/billing/statement', query: params }, options);
  }
}
