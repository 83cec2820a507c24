"""`naive.webhooks`: endpoints that hear of events. Deliveries are verified by the module `naive.webhooks`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from naive import lazy, params, requests
from naive.requests import Listing, Request
from naive.routes import AsyncRaw, ListRoute, Raw, RawRoutes, Resource, Route

if TYPE_CHECKING:
    from naive import types
else:
    types = lazy.module("naive.types")


class Webhooks[M](Resource[M]):
    """Endpoints of the company's. A secret is shown once, by `create` and `rotate_secret`."""

    with_raw_response: RawRoutes[Webhooks[Raw], Webhooks[AsyncRaw]] = RawRoutes()

    @Route
    def create(self, **given: Unpack[params.WebhookParams]) -> Request[types.IssuedWebhook]:
        """Add an endpoint. Keep its `secret`: it is not shown again."""
        return requests.post("/v1/webhooks", given, types.IssuedWebhook)

    @ListRoute
    def list(self, **given: Unpack[params.PageParams]) -> Listing[types.Webhook]:
        return requests.listing("/v1/webhooks", "webhooks", given, types.Webhook)

    @Route
    def get(self, webhook_id: str, **given: Unpack[params.Options]) -> Request[types.Webhook]:
        return requests.get(_at(webhook_id), given, types.Webhook)

    @Route
    def update(self, webhook_id: str, **given: Unpack[params.WebhookChanges]) -> Request[types.Webhook]:
        """Change what is given and leave the rest."""
        return requests.patch(_at(webhook_id), given, types.Webhook)

    @Route
    def delete(self, webhook_id: str, **given: Unpack[params.Options]) -> Request[types.Deleted]:
        return requests.delete(_at(webhook_id), given, types.Deleted)

    @Route
    def test(self, webhook_id: str, **given: Unpack[params.Options]) -> Request[types.Delivery]:
        """Send it a `webhook.test` event."""
        return requests.post(_at(webhook_id, "test"), given, types.Delivery)

    @Route
    def rotate_secret(self, webhook_id: str, **given: Unpack[params.Options]) -> Request[types.IssuedWebhook]:
        """Give it a new secret."""
        return requests.post(_at(webhook_id, "rotate-secret"), given, types.IssuedWebhook)

    @ListRoute
    def deliveries(
        self, webhook_id: str, **given: Unpack[params.DeliveriesParams]
    ) -> Listing[types.Delivery]:
        """List what was sent to it, the latest first, page after page."""
        return requests.listing(_at(webhook_id, "deliveries"), "deliveries", given, types.Delivery)

    @Route
    def replay(
        self, webhook_id: str, delivery_id: str, **given: Unpack[params.Options]
    ) -> Request[types.Delivery]:
        """Send a delivery once more, under its own message id."""
        return requests.post(_at(webhook_id, "deliveries", delivery_id, "replay"), given, types.Delivery)


def _at(*segments: str) -> str:
    return requests.at("webhooks", *segments)
