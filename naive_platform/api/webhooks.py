"""/v1/webhooks/*: where a company is told of what, and what became of each delivery."""

from typing import Any
from uuid import UUID

import orjson
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import deliveries, ids, webhook_events, webhooks
from accounts.errors import Conflict, DuplicateRecord, NotFound
from accounts.fields import SHOWN_LENGTH_MAX
from accounts.webhook_models import (
    DESCRIPTION_LENGTH_MAX,
    URL_LENGTH_MAX,
    WebhookDelivery,
    WebhookEndpoint,
)
from accounts.webhooks import IssuedEndpoint
from naive_platform.api import contract, routes, shapes
from naive_platform.api.routes import Route

# What it looks like; whether it may be asked is looked up (accounts/webhook_addresses.py).
URL_PATTERN = r"^https?://[!$-\[\]-~]+$"
URL_SAYS = "must be an https:// address, in printable ASCII."


class WebhookBody(shapes.Body):
    url = shapes.Text(
        max_length=URL_LENGTH_MAX,
        pattern=URL_PATTERN,
        says=URL_SAYS,
        help_text="An https:// address that the public internet reaches.",
    )
    events = serializers.ListField(
        child=shapes.Choice(webhook_events.KINDS),
        min_length=1,
        max_length=len(webhook_events.KINDS),
        help_text="What it wants to hear of.",
    )
    description = shapes.Text(max_length=DESCRIPTION_LENGTH_MAX, allow_blank=True, default="")


class WebhookChanges(shapes.Body):
    url = shapes.Text(max_length=URL_LENGTH_MAX, pattern=URL_PATTERN, says=URL_SAYS, required=False)
    events = serializers.ListField(
        child=shapes.Choice(webhook_events.KINDS),
        min_length=1,
        max_length=len(webhook_events.KINDS),
        required=False,
    )
    description = shapes.Text(max_length=DESCRIPTION_LENGTH_MAX, allow_blank=True, required=False)
    enabled = shapes.Truth(
        required=False, help_text="false: it hears of nothing, and what was on its way to it has failed."
    )


class WebhookShape(shapes.Answer):
    """An endpoint of the company's."""

    id = shapes.Id()
    url = shapes.Text(max_length=URL_LENGTH_MAX)
    description = shapes.Text(allow_blank=True)
    events = serializers.ListField(child=shapes.Choice(webhook_events.KINDS))
    enabled = shapes.Truth()
    disabled_at = shapes.Instant(allow_null=True)
    disabled_reason = shapes.Choice(
        WebhookEndpoint.Disabled.values,
        allow_null=True,
        help_text="`failing`: nothing but failures for five days; `gone`: it answered 410.",
    )
    failing_since = shapes.Instant(allow_null=True, help_text="The first failure since the last success.")
    created_at = shapes.Instant()


class IssuedShape(WebhookShape):
    """An endpoint with its new secret, which is shown only this once."""

    secret = shapes.Text(help_text="`whsec_…`: what its deliveries are verified with.")


class WebhooksShape(shapes.Answer):
    webhooks = WebhookShape(many=True)
    next_cursor = shapes.Text(allow_null=True)


class DeliveryShape(shapes.Answer):
    """One event on its way to one endpoint, and what came of its last attempt."""

    id = shapes.Id()
    webhook_id = shapes.Id()
    message_id = shapes.Text(help_text="The header `webhook-id`: the same in every attempt and every replay.")
    type = shapes.Choice([*webhook_events.KINDS, webhook_events.Kind.TEST.value])
    state = shapes.Choice(WebhookDelivery.State.values)
    attempts = shapes.Whole(min_value=0, max_value=2**15)
    next_attempt_at = shapes.Instant(allow_null=True)
    last_attempt_at = shapes.Instant(allow_null=True)
    delivered_at = shapes.Instant(allow_null=True)
    status_code = shapes.Whole(min_value=100, max_value=999, allow_null=True)
    error = shapes.Text(allow_null=True, help_text="Why the last attempt was no success.")
    answer = shapes.Text(
        max_length=deliveries.ANSWER_BYTES_MAX,
        allow_blank=True,
        help_text="The beginning of what it answered.",
    )
    duration_ms = shapes.Whole(min_value=0, max_value=2**31, allow_null=True)
    replay_of = shapes.Id(allow_null=True)
    created_at = shapes.Instant()
    payload = serializers.DictField(help_text="What is sent: `{type, timestamp, data}`.")


class DeliveriesQuery(shapes.Page):
    state = shapes.Choice(WebhookDelivery.State.values, default=None, help_text="Only those in this state.")


class DeliveriesShape(shapes.Answer):
    deliveries = DeliveryShape(many=True)
    next_cursor = shapes.Text(allow_null=True)


class Webhooks(Route):
    """GET, POST /v1/webhooks"""

    name = "webhooks"
    # A name is looked up. Done twice, a URL's second endpoint is refused.
    reaches_beyond = True

    @contract.describe(
        summary="List webhooks, the latest first", query=shapes.Page, answers={200: WebhooksShape}
    )
    def get(self, request: Request) -> Response:
        found = webhooks.page(
            company_id=self.company_id,
            limit=self.query["limit"],
            before_id=routes.cursor(self.query["cursor"], kind=UUID),
        )
        return routes.answer(
            {
                "webhooks": [webhook_object(endpoint) for endpoint in found.endpoints],
                "next_cursor": routes.next_cursor(found.before_id),
            }
        )

    @contract.describe(
        summary="Add a webhook; its secret is shown only this once",
        body=WebhookBody,
        answers={201: IssuedShape},
        refuses=(DuplicateRecord, Conflict),
    )
    def post(self, request: Request) -> Response:
        issued = webhooks.create(company_id=self.company_id, **self.body, now=timezone.now())
        return routes.answer(_issued_object(issued), status=201)


class Webhook(Route):
    """GET, PATCH, DELETE /v1/webhooks/{id}"""

    name = "webhook"
    reaches_beyond = True

    @contract.describe(summary="Read a webhook", answers={200: WebhookShape}, refuses=(NotFound,))
    def get(self, request: Request, webhook_id: str) -> Response:
        endpoint = webhooks.get(company_id=self.company_id, webhook_id=_webhook_id(webhook_id))
        return routes.answer(webhook_object(endpoint))

    @contract.describe(
        summary="Change a webhook, or disable or enable it",
        body=WebhookChanges,
        answers={200: WebhookShape},
        refuses=(NotFound, DuplicateRecord),
    )
    def patch(self, request: Request, webhook_id: str) -> Response:
        endpoint = webhooks.update(
            company_id=self.company_id,
            webhook_id=_webhook_id(webhook_id),
            changes=self.body,
            now=timezone.now(),
        )
        return routes.answer(webhook_object(endpoint))

    @contract.describe(
        summary="Delete a webhook and its log", answers={200: shapes.DeletedShape}, refuses=(NotFound,)
    )
    def delete(self, request: Request, webhook_id: str) -> Response:
        found_id = _webhook_id(webhook_id)
        webhooks.delete(company_id=self.company_id, webhook_id=found_id, now=timezone.now())
        return routes.answer({"id": found_id, "deleted": True})


class WebhookTest(Route):
    """POST /v1/webhooks/{id}/test"""

    name = "webhook-test"

    @contract.describe(
        summary="Send a webhook an event of type webhook.test",
        answers={202: DeliveryShape},
        refuses=(NotFound, Conflict),
    )
    def post(self, request: Request, webhook_id: str) -> Response:
        delivery = webhooks.test(
            company_id=self.company_id, webhook_id=_webhook_id(webhook_id), now=timezone.now()
        )
        return routes.answer(delivery_object(delivery), status=202)


class WebhookRotateSecret(Route):
    """POST /v1/webhooks/{id}/rotate-secret"""

    name = "webhook-rotate-secret"

    @contract.describe(
        summary="Give a webhook another secret; for 24 hours the old one signs too",
        answers={200: IssuedShape},
        refuses=(NotFound, Conflict),
    )
    def post(self, request: Request, webhook_id: str) -> Response:
        issued = webhooks.rotate_secret(
            company_id=self.company_id, webhook_id=_webhook_id(webhook_id), now=timezone.now()
        )
        return routes.answer(_issued_object(issued))


class WebhookDeliveries(Route):
    """GET /v1/webhooks/{id}/deliveries?limit=&cursor=&state="""

    name = "webhook-deliveries"

    @contract.describe(
        summary="Read a webhook's log, the latest delivery first",
        query=DeliveriesQuery,
        answers={200: DeliveriesShape},
        refuses=(NotFound,),
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        found = deliveries.page(
            company_id=self.company_id,
            webhook_id=_webhook_id(webhook_id),
            limit=self.query["limit"],
            before_id=routes.cursor(self.query["cursor"], kind=UUID),
            state=self.query["state"],
        )
        return routes.answer(
            {
                "deliveries": [delivery_object(delivery) for delivery in found.deliveries],
                "next_cursor": routes.next_cursor(found.before_id),
            }
        )


class WebhookReplay(Route):
    """POST /v1/webhooks/{id}/deliveries/{delivery_id}/replay"""

    name = "webhook-replay"

    @contract.describe(
        summary="Deliver an event once more, under its own webhook-id",
        answers={202: DeliveryShape},
        refuses=(NotFound, Conflict),
    )
    def post(self, request: Request, webhook_id: str, delivery_id: str) -> Response:
        again = deliveries.replay(
            company_id=self.company_id,
            webhook_id=_webhook_id(webhook_id),
            delivery_id=_id(delivery_id, "Delivery"),
            now=timezone.now(),
        )
        return routes.answer(delivery_object(again), status=202)


def webhook_object(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """What a client reads of an endpoint."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.events,
        "enabled": endpoint.disabled_at is None,
        "disabled_at": endpoint.disabled_at,
        "disabled_reason": endpoint.disabled_reason or None,
        "failing_since": endpoint.failing_since,
        "created_at": endpoint.created_at,
    }


def delivery_object(delivery: WebhookDelivery) -> dict[str, Any]:
    """What a client reads of a delivery."""
    return {
        "id": delivery.id,
        "webhook_id": delivery.endpoint_id,
        "message_id": deliveries.message_id(delivery.event_id),
        "type": delivery.event.kind,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "next_attempt_at": delivery.next_at,
        "last_attempt_at": delivery.attempted_at,
        "delivered_at": delivery.delivered_at,
        "status_code": delivery.status_code,
        "error": delivery.error or None,
        "answer": delivery.answer,
        "duration_ms": delivery.duration_ms,
        "replay_of": delivery.replay_of,
        "created_at": delivery.created_at,
        "payload": orjson.Fragment(delivery.event.body),
    }


def _issued_object(issued: IssuedEndpoint) -> dict[str, Any]:
    return webhook_object(issued.endpoint) | {"secret": issued.secret}


def _webhook_id(text: str) -> UUID:
    return _id(text, "Webhook")


def _id(text: str, noun: str) -> UUID:
    found = ids.parse(text)
    if found is None:
        raise NotFound(f"{noun} {text[:SHOWN_LENGTH_MAX]} was not found.")
    return found
