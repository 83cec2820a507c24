"""One request that works for every route and verb of the management API, and a company that has one of everything."""

import dataclasses
import functools
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.middleware import csrf
from django.test import Client
from django.urls import URLPattern
from django.utils import timezone

from accounts import keys, kits, sessions, tenants
from accounts.ids import CompanyId
from accounts.models import Role
from accounts.webhook_models import WebhookDelivery
from billing.payments import configured, stripe_news
from naive_platform.api import permissions, urls
from naive_platform.api.routes import Route
from tests import factories
from tests import webhooks as hooks
from tests.billing import shop

VERBS = ("get", "post", "put", "patch", "delete")
MUTATIONS = VERBS[1:]
# What a request may name; the addresses' own words for it.
NAMED = ("user_id", "kit_id", "key_id", "session_id", "webhook_id", "delivery_id", "company_id")
_PLACE = re.compile(r"<str:(\w+)>")


@dataclass(frozen=True, slots=True)
class World:
    """A company, and what a request may name there; each of these may be replaced by another's."""

    member: factories.Cast
    company_id: CompanyId
    user_id: UUID
    kit_id: UUID
    key_id: UUID
    session_id: UUID
    webhook_id: UUID
    delivery_id: UUID
    # A key as signing in gives it: the owner's, which opens everything.
    secret: str = field(repr=False)
    session_token: str = field(repr=False)
    # Throttles count by address: nobody is to wait for another test.
    address: str

    def key(self, role: Role = Role.OWNER, **scope: Any) -> str:
        """The secret of a new key of the owner's, a personal one where it has no scope."""
        made = keys.create(
            company_id=self.member.company_id,
            name=f"A {role}",
            role=role.value,
            created_by_id=self.member.owner.id,
            now=timezone.now(),
            is_personal=not scope,
            **scope,
        )
        return made.secret

    def naming(self, other: "World | None", *names: str) -> "World":
        """The same, but these things are another company's, or nobody's."""
        changes: dict[str, Any] = {name: uuid4() if other is None else getattr(other, name) for name in names}
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it goes out."""

    path: str
    query: Mapping[str, str]
    body: bytes | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Example:
    """A request that an owner's key may make: what is sent, what is answered, and the audit entries it leaves."""

    status: int = 200
    body: Callable[[World], Any] | None = None
    query: Callable[[World], Mapping[str, str]] = lambda world: {}
    headers: Callable[[bytes], Mapping[str, str]] = lambda body: {}
    leaves: tuple[str, ...] = ()


def world(member: factories.Cast | None = None) -> World:
    """A new company with one of everything."""
    member, now = member or factories.acme(), timezone.now()
    company_id = member.company_id
    kit = kits.create(company_id=company_id, name="Spare", now=now)
    user = tenants.create(company_id=company_id, external_id="u-1", email="u1@acme.example", now=now)
    key = keys.create(
        company_id=company_id, name="Spare", role="viewer", created_by_id=member.owner.id, now=now
    )
    session = sessions.issue(company_id=company_id, user_id=user.id, api_key_id=member.key.id, now=now)
    webhook = hooks.issued(member, now=now).endpoint
    hooks.tell(member, now=now)
    WebhookDelivery.objects.filter(endpoint_id=webhook.id).update(state="failed", next_at=None)
    made = World(
        member=member,
        company_id=company_id,
        user_id=user.id,
        kit_id=kit.id,
        key_id=key.key.id,
        session_id=session.session.id,
        webhook_id=webhook.id,
        delivery_id=hooks.of(webhook)[0].id,
        secret="",
        session_token=session.token,
        address=f"2001:db8:{_group()}:{_group()}::1",
    )
    return dataclasses.replace(made, secret=made.key())


def _group() -> str:
    return f"{0x1000 + secrets.randbelow(0xEFFF):x}"


def _paid(world: World) -> bytes:
    """The news of a payment, as the provider sends them."""
    return shop.sale(world.member).pay().body.encode()


def _signed(body: bytes) -> Mapping[str, str]:
    signature = stripe_news.sign(body, secret=configured.fake_secret(), at=timezone.now())
    return {"Stripe-Signature": signature}


def _newcomer(_: World) -> dict[str, str]:
    email = f"{uuid4().hex}@newcomer.example"
    return {"name": "Newcomer", "email": email, "password": factories.PASSWORD, "company_name": "Newcomers"}


FOUNDED = (
    *("person.created", "company.created", "member.added", "account_kit.created", "tenant_user.created"),
    "api_key.created",
)
# By the route's name and the verb: exactly the rows of permissions.TABLE.
EXAMPLES: dict[tuple[str, str], Example] = {
    ("register", "post"): Example(201, body=_newcomer, leaves=FOUNDED),
    ("login", "post"): Example(
        body=lambda w: {"email": w.member.owner.email, "password": factories.PASSWORD},
        leaves=("person.signed_in", "api_key.created"),
    ),
    ("select-company", "post"): Example(
        body=lambda w: {"company_id": str(w.company_id)}, leaves=("api_key.created",)
    ),
    ("me", "get"): Example(),
    ("keys", "get"): Example(query=lambda w: {"account_kit_id": str(w.kit_id)}),
    ("keys", "post"): Example(
        201,
        body=lambda w: {"name": "New", "role": "viewer", "active_tenant_user_id": str(w.user_id)},
        leaves=("api_key.created",),
    ),
    ("key", "get"): Example(),
    ("key", "patch"): Example(body=lambda w: {"name": "Renamed"}, leaves=("api_key.updated",)),
    ("key", "delete"): Example(leaves=("api_key.revoked",)),
    ("key-rotate", "post"): Example(201, body=lambda w: {}, leaves=("api_key.rotated",)),
    ("users", "get"): Example(query=lambda w: {"account_kit_id": str(w.kit_id)}),
    ("users", "post"): Example(
        201,
        body=lambda w: {"external_id": "u-2", "metadata": {"plan": "pro"}},
        leaves=("tenant_user.created",),
    ),
    ("user", "get"): Example(),
    ("user", "patch"): Example(body=lambda w: {"label": "Renamed"}, leaves=("tenant_user.updated",)),
    ("user", "delete"): Example(leaves=("tenant_user.suspended",)),
    ("user-usage", "get"): Example(),
    ("user-sessions", "get"): Example(),
    ("user-sessions", "post"): Example(
        201, body=lambda w: {"ttl_seconds": 60}, leaves=("user_session.created",)
    ),
    ("user-session", "delete"): Example(leaves=("user_session.revoked",)),
    ("account-kits", "get"): Example(),
    ("account-kits", "post"): Example(
        201,
        body=lambda w: {"name": "Free", "primitives_config": {"llm": {"enabled": True}}},
        leaves=("account_kit.created",),
    ),
    ("account-kit", "get"): Example(),
    ("account-kit", "patch"): Example(body=lambda w: {"name": "Renamed"}, leaves=("account_kit.updated",)),
    ("account-kit", "delete"): Example(leaves=("account_kit.deleted",)),
    ("account-kit-effective", "get"): Example(),
    ("account-kit-preview", "post"): Example(
        body=lambda w: {"primitives_config": {"llm": {"enabled": False}}}
    ),
    ("account-kit-assign", "post"): Example(leaves=("account_kit.assigned",)),
    ("account-kit-assign-many", "post"): Example(
        body=lambda w: {"user_ids": [str(w.user_id)]}, leaves=("account_kit.assigned",)
    ),
    ("status", "get"): Example(),
    ("usage", "get"): Example(query=lambda w: {"user_id": str(w.user_id)}),
    ("packs", "get"): Example(),
    ("topup", "post"): Example(201, body=lambda w: {"pack_id": "small"}, leaves=("checkout.opened",)),
    ("ledger", "get"): Example(),
    ("statement", "get"): Example(),
    ("audit", "get"): Example(query=lambda w: {"target_id": str(w.kit_id)}),
    ("audit-export", "get"): Example(query=lambda w: {"target_id": str(w.kit_id)}),
    ("webhooks", "get"): Example(),
    ("webhooks", "post"): Example(
        201,
        body=lambda w: {"url": f"{hooks.URL}/new", "events": ["credits.low"]},
        leaves=("webhook.created",),
    ),
    ("webhook", "get"): Example(),
    ("webhook", "patch"): Example(body=lambda w: {"enabled": False}, leaves=("webhook.updated",)),
    ("webhook", "delete"): Example(leaves=("webhook.deleted",)),
    ("webhook-test", "post"): Example(202, leaves=("webhook.tested",)),
    ("webhook-rotate-secret", "post"): Example(leaves=("webhook.secret_rotated",)),
    ("webhook-deliveries", "get"): Example(),
    ("webhook-replay", "post"): Example(202, leaves=("webhook_delivery.replayed",)),
    ("stripe-webhook", "post"): Example(body=_paid, headers=_signed, leaves=("checkout.paid",)),
}
# Asked by POST for the size of what is asked; nothing is changed.
READS = {("account-kit-preview", "post")}


@functools.cache
def addresses() -> dict[str, tuple[str, type[Route]]]:
    """Every address of the URL map by its name: how it is written, and what answers there."""
    found: dict[str, tuple[str, type[Route]]] = {}
    for pattern in urls.urlpatterns:
        assert isinstance(pattern, URLPattern), pattern
        assert pattern.name, pattern
        assert pattern.name not in found, f"{pattern.name} is the name of two addresses"
        view: Any = pattern.callback
        found[pattern.name] = (f"/v1/{pattern.pattern}", view.cls)
    return found


def pairs(*verbs: str) -> Iterator[tuple[str, str]]:
    """Every route and verb of the table, or those with these verbs."""
    for name, row in permissions.TABLE.items():
        for verb in row:
            if verb in (verbs or VERBS):
                yield name, verb


def named_in_path(route: str) -> list[str]:
    return _PLACE.findall(addresses()[route][0])


def asked(route: str, verb: str, world: World, **places: str) -> Asked:
    """The example's request; `places` are said in the path as they are."""
    example = EXAMPLES[route, verb]
    path = _PLACE.sub(
        lambda found: places.get(found[1]) or str(getattr(world, found[1])), addresses()[route][0]
    )
    made = None if example.body is None else example.body(world)
    body = made if made is None or isinstance(made, bytes) else orjson.dumps(made)
    return Asked(path=path, query=example.query(world), body=body, headers=example.headers(body or b""))


def send(
    verb: str, request: Asked, *, world: World, secret: str | None = None, client: Client | None = None
) -> Any:
    """Ask with a key, with the client's session, or as nobody; from the world's own address."""
    headers = dict(request.headers)
    if secret is not None:
        headers["Authorization"] = f"Bearer {secret}"
    more: dict[str, Any] = {"query_params": dict(request.query)}
    if verb != "get":
        more |= {"data": request.body or b"", "content_type": "application/json"}
    asking = client or Client(raise_request_exception=False)
    return getattr(asking, verb)(request.path, headers=headers, REMOTE_ADDR=world.address, **more)


def signed_in(world: World) -> Client:
    """The owner's browser, which sends no CSRF token."""
    browser = Client(enforce_csrf_checks=True, raise_request_exception=False)
    browser.force_login(world.member.owner)
    return browser


def with_token(browser: Client, request: Asked) -> Asked:
    """The same request as the dashboard's own page sends it."""
    token = csrf._get_new_csrf_string()
    browser.cookies["csrftoken"] = token
    return dataclasses.replace(request, headers={**request.headers, "X-CSRFToken": token})
