/** Webhooks: addresses of yours that are told what happens. */
import type { APIPromise, Answer } from '../answers.js';
import { list, type ListParams, type PagePromise } from '../paging.js';
import { path, type RequestOptions, type Transport } from '../transport.js';
import type { Deleted } from '../types/account-kits.js';
import type * as types from '../types/webhooks.js';

/** `naive.webhooks`: what they are told is verified by `verify` of the module `webhooks`. */
export class Webhooks {
  readonly #transport: Transport;

  /** Made by the client. */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** List webhooks, the newest first. */
  list(params: ListParams = {}, options: RequestOptions = {}): PagePromise<types.WebhookList, types.Webhook> {
    return list(this.#transport, { method: 'GET', path: '/v1/webhooks', query: params }, 'webhooks', options);
  }

  /** Add a webhook. Its `secret` is shown only here. */
  create(params: types.WebhookCreateParams, options?: RequestOptions): APIPromise<Answer<types.IssuedWebhook>> {
    return this.#transport.json({ method: 'POST', path: '/v1/webhooks', body: params }, options);
  }

  /** Return a webhook. */
  get(webhookId: string, options?: RequestOptions): APIPromise<Answer<types.Webhook>> {
    return this.#transport.json({ method: 'GET', path: path`/v1/webhooks/${webhookId}` }, options);
  }

  /** Change, disable or enable a webhook. */
  update(
    webhookId: string,
    params: types.WebhookUpdateParams,
    options?: RequestOptions,
  ): APIPromise<Answer<types.Webhook>> {
    return this.#transport.json({ method: 'PATCH', path: path`/v1/webhooks/${webhookId}`, body: params }, options);
  }

  /** Delete a webhook, its log included. */
  delete(webhookId: string, options?: RequestOptions): APIPromise<Answer<Deleted>> {
    return this.#transport.json({ method: 'DELETE', path: path`/v1/webhooks/${webhookId}` }, options);
  }

  /** Send it `webhook.test`, whatever it listens to. */
  test(webhookId: string, options?: RequestOptions): APIPromise<Answer<types.WebhookDelivery>> {
    return this.#transport.json({ method: 'POST', path: path`/v1/webhooks/${webhookId}/test` }, options);
  }

  /** Give it a new secret; for a day messages carry the old one's signature too. */
  rotateSecret(webhookId: string, options?: RequestOptions): APIPromise<Answer<types.IssuedWebhook>> {
    return this.#transport.json({ method: 'POST', path: path`/v1/webhooks/${webhookId}/rotate-secret` }, options);
  }

  /** List what was sent to it in the last 30 days, the newest first. */
  deliveries(
    webhookId: string,
    params: types.WebhookDeliveryListParams = {},
    options: RequestOptions = {},
  ): PagePromise<types.WebhookDeliveryList, types.WebhookDelivery> {
    const request = { method: 'GET', path: path`/v1/webhooks/${webhookId}/deliveries`, query: params } as const;
    return list(this.#transport, request, 'deliveries', options);
  }

  /** Deliver an event once more, under its own `webhook-id`. */
  replay(webhookId: string, deliveryId: string, options?: RequestOptions): APIPromise<Answer<types.WebhookDelivery>> {
    const request = { method: 'POST', path: path`/v1/webhooks/${webhookId}/deliveries/${deliveryId}/replay` } as const;
    return this.#transport.json(request, options);
  }
}
