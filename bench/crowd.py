"""A company with as much of everything as its lists must bear; runs with Django set up, by bulk SQL."""

import base64
import json
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from accounts import ids
from accounts.models import AccountKit, APIKey, AuditEntry, Company, TenantUser
from accounts.session_models import UserSession
from accounts.webhook_models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from billing import ledger

USERS, KITS, KEYS, SESSIONS, DELIVERIES, AUDIT_ENTRIES, ENTRIES = (
    20_000,
    1_000,
    2_000,
    500,
    2_000,
    20_000,
    500,
)
BATCH = 5_000


def fill_bench() -> None:
    """Fill the company of the bench, and print the addresses of its lists as one line of JSON."""
    print(json.dumps(fill(company_id=Company.objects.get(name="Bench").id, share=1)))


def fill(*, company_id: UUID, share: float) -> dict[str, str]:
    """Give a company that part of everything; the address of each list, by what it lists."""
    now = timezone.now()
    kits = _kits(company_id, _part(KITS, share), now)
    users = _users(company_id, kits, _part(USERS, share), now)
    keys = _keys(company_id, kits, _part(KEYS, share), now)
    _sessions(company_id, users[0], keys[0], _part(SESSIONS, share), now)
    endpoint = deliveries(company_id, _part(DELIVERIES, share), now)
    _audit(company_id, keys[0], users, _part(AUDIT_ENTRIES, share), now)
    for number in range(_part(ENTRIES, share)):
        reference = f"crowd-{number}-{secrets.token_hex(4)}"
        ledger.post(company_id=company_id, amount_nanocredits=10**6, action="grant", reference=reference)
    with connection.cursor() as cursor:
        # What PostgreSQL does itself some time after so many rows have come.
        cursor.execute("ANALYZE")
    far = base64.urlsafe_b64encode(f"before:{users[len(users) // 2].id}".encode()).decode().rstrip("=")
    return {
        "users": "/v1/users?limit=200",
        "users, far page": f"/v1/users?limit=200&cursor={far}",
        "users, searched": "/v1/users?limit=200&search=user-1",
        "users of a kit": f"/v1/users?limit=200&account_kit_id={kits[1].id}",
        "account kits": "/v1/account-kits?limit=200",
        "account kits, searched": "/v1/account-kits?limit=200&search=kit%201",
        "keys": "/v1/auth/keys?limit=200",
        "keys of a kit": f"/v1/auth/keys?limit=200&account_kit_id={kits[1].id}",
        "sessions": f"/v1/users/{users[0].id}/sessions?limit=200",
        "webhooks": "/v1/webhooks?limit=200",
        "deliveries": f"/v1/webhooks/{endpoint.id}/deliveries?limit=200",
        "audit entries": "/v1/audit?limit=200",
        "audit entries, filtered": "/v1/audit?limit=200&action=account_kit.deleted",
        "ledger": "/v1/billing/ledger?limit=200",
        "usage": "/v1/usage?limit=200&group_by=user",
        "usage of a user": f"/v1/users/{users[0].id}/usage?limit=200&group_by=model",
    }


def _part(count: int, share: float) -> int:
    return max(2, round(count * share))


def _bulk[R](manager: Any, count: int, make: Callable[[int], R]) -> list[R]:
    rows: Iterable[R] = (make(number) for number in range(count))
    found: list[R] = manager.bulk_create(rows, batch_size=BATCH)
    return found


def _kits(company_id: UUID, count: int, now: datetime) -> list[AccountKit]:
    config = {"llm": {"enabled": True, "defaults": {"allowed_models": ["openai/*"], "max_tokens": 4096}}}
    name = f"kit %d {secrets.token_hex(3)}"
    return _bulk(
        AccountKit.objects,
        count,
        lambda n: AccountKit(company_id=company_id, name=name % n, primitives_config=config, created_at=now),
    )


def _users(company_id: UUID, kits: list[AccountKit], count: int, now: datetime) -> list[TenantUser]:
    run = secrets.token_hex(3)
    return _bulk(
        TenantUser.objects,
        count,
        lambda n: TenantUser(
            company_id=company_id,
            external_id=f"user-{n}-{run}",
            email=f"user-{n}@customers.example",
            label=f"User {n}",
            account_kit_id=kits[n % len(kits)].id,
            metadata={"plan": "free", "seats": n},
            created_at=now,
        ),
    )


def _keys(company_id: UUID, kits: list[AccountKit], count: int, now: datetime) -> list[APIKey]:
    def make(number: int) -> APIKey:
        key = APIKey(
            company_id=company_id,
            name=f"key {number}",
            role="member",
            digest=secrets.token_bytes(32),
            last_4="0000",
            account_kit_id=kits[number % len(kits)].id if number % 2 else None,
            created_at=now,
        )
        key.family_id = key.id
        return key

    return _bulk(APIKey.objects, count, make)


def _sessions(company_id: UUID, user: TenantUser, key: APIKey, count: int, now: datetime) -> None:
    _bulk(
        UserSession.objects,
        count,
        lambda _: UserSession(
            company_id=company_id,
            tenant_user_id=user.id,
            api_key_id=key.id,
            digest=secrets.token_bytes(32),
            expires_at=now + timedelta(days=1),
            created_at=now,
        ),
    )


def deliveries(company_id: UUID, count: int, now: datetime) -> WebhookEndpoint:
    endpoints = _bulk(
        WebhookEndpoint.objects,
        19,
        lambda n: WebhookEndpoint(
            company_id=company_id,
            url=f"https://93.184.215.14/{n}/{secrets.token_hex(3)}",
            events=["key.created"],
            created_at=now,
        ),
    )
    body = json.dumps({"type": "key.created", "timestamp": now.isoformat(), "data": {"name": "CI"}})
    events = _bulk(
        WebhookEvent.objects,
        count,
        lambda _: WebhookEvent(
            id=ids.uuid7(), company_id=company_id, kind="key.created", body=body, created_at=now
        ),
    )
    _bulk(
        WebhookDelivery.objects,
        count,
        lambda n: WebhookDelivery(
            id=ids.uuid7(),
            company_id=company_id,
            endpoint_id=endpoints[0].id,
            event_id=events[n].id,
            state="delivered",
            attempts=1,
            status_code=204,
            duration_ms=12,
            attempted_at=now,
            delivered_at=now,
            created_at=now,
        ),
    )
    return endpoints[0]


def _audit(company_id: UUID, key: APIKey, users: list[TenantUser], count: int, now: datetime) -> None:
    _bulk(
        AuditEntry.objects,
        count,
        lambda n: AuditEntry(
            company_id=company_id,
            actor_kind="key",
            actor_id=key.id,
            actor_label=key.name,
            ip="192.0.2.1",
            request_id=f"req_{n}",
            action="tenant_user.updated" if n % 1_000 else "account_kit.deleted",
            target_kind="tenant_user",
            target_id=str(users[n % len(users)].id),
            before={"label": "A"},
            after={"label": "B"},
            created_at=now,
        ),
    )
