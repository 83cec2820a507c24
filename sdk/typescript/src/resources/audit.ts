/** Who changed what. */
import type { APIPromise } from '../answers.js';
import { list, type PagePromise } from '../paging.js';
import type { RequestOptions, Transport } from '../transport.js';
import type * as types from '../types/audit.js';

/** `naive.audit`: your company's audit log. */
export class Audit {
  readonly #transport: Transport;

  /** Made by the client. */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** List changes, the newest first. */
  list(
    params: types.AuditListParams = {},
    options: RequestOptions = {},
  ): PagePromise<types.AuditEntryList, types.AuditEntry> {
    return list(this.#transport, { method: 'GET', path: '/v1/audit', query: params }, 'audit_entries', options);
  }

  /** Return changes as the text of a file, CSV or a JSON object a line. */
  export(params: types.AuditExportParams = {}, options?: RequestOptions): APIPromise<string> {
    return this.#transport.text({ method: 'GET', path: '/v1/audit/export', query: params }, options);
  }
}
