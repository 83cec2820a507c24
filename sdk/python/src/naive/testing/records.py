"""What the fake keeps: users, kits and keys in memory; and the shapes of what it is asked."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

MODELS = ("anthropic/claude-sonnet-4.6", "anthropic/claude-haiku-4.5", "openai/gpt-5.2", "openai/gpt-4o-mini")
AT = "2026-01-01T00:00:00Z"
LIMIT = 50
KIT_ID, USER_ID = "00000000-0000-7000-8000-0000000000b1", "00000000-0000-7000-8000-0000000000a1"
COMPANY = {"id": "00000000-0000-7000-8000-0000000000c1", "name": "Fake", "status": "active"}
NEW: dict[str, dict[str, Any]] = {
    "users": {
        "external_id": None,
        "email": "",
        "label": "",
        "status": "active",
        "account_kit_id": KIT_ID,
        "is_default": False,
        "metadata": {},
        "created_at": AT,
        "last_active_at": None,
    },
    "account_kits": {
        "name": "",
        "description": "",
        "is_default": False,
        "primitives_config": {},
        "connections_config": {"mode": "open"},
        "prompt_retention_days": None,
        "etag": '"v1"',
        "created_at": AT,
    },
    "keys": {
        "name": "",
        "last_4": "fake",
        "role": "member",
        "created_by": None,
        "account_kit_id": None,
        "active_tenant_user_id": None,
        "cap_credits": None,
        "cap_period": None,
        "requests_per_minute": None,
        "rotated_from": None,
        "expires_at": None,
        "last_used_at": None,
        "created_at": AT,
        "revoked": False,
        "revoked_at": None,
    },
}
# Of a path, the noun of what it lists, and the field that is one of a kind.
NOUNS = {
    "users": ("users", "external_id"),
    "account-kits": ("account_kits", "name"),
    "auth/keys": ("keys", "id"),
}
# What of a row is different once it was deleted.
ENDED: dict[str, dict[str, Any]] = {
    "users": {"status": "suspended"},
    "keys": {"revoked": True, "revoked_at": AT},
}

type Answer = tuple[int, dict[str, Any]]


class Records:
    """Users, kits and keys, which can be created, listed, read, changed and deleted."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._rows: dict[str, dict[str, dict[str, Any]]] = {noun: {} for noun in NEW}
        kit = {"id": KIT_ID, **NEW["account_kits"], "name": "Default", "is_default": True}
        user = {"id": USER_ID, **NEW["users"], "label": "Default", "is_default": True}
        self._rows["account_kits"][KIT_ID] = kit
        self._rows["users"][USER_ID] = user

    def answer(
        self, method: str, path: str, query: Mapping[str, str], body: Any, *, balance: Decimal
    ) -> Answer:
        """Return a status and a body; of an error, its code and words."""
        if method == "GET" and path in ("usage", "status", "auth/me"):
            return 200, _account(path, self._rows["users"][USER_ID], balance)
        for prefix, (noun, unique) in NOUNS.items():
            if path == prefix:
                return self._create(noun, unique, body) if method == "POST" else self._list(noun, query)
            if path.startswith(f"{prefix}/"):
                return self._one(method, noun, path.removeprefix(f"{prefix}/"), body)
        return 404, {
            "message": f"The fake platform does not know {method} /v1/{path}; tell it with respond()."
        }

    def _create(self, noun: str, unique: str, body: Any) -> Answer:
        given = dict(body or {})
        value = given.get(unique)
        if value is not None and any(row[unique] == value for row in self._rows[noun].values()):
            return 409, {"code": "duplicate_record", "message": f"{unique} {value!r} is taken."}
        made = {"id": f"00000000-0000-7000-8000-{next(self._ids):012d}", **NEW[noun], **given}
        self._rows[noun][made["id"]] = made
        return 201, {**made, "api_key": f"nv_sk_fake_{made['id'][-4:]}"} if noun == "keys" else made

    def _list(self, noun: str, query: Mapping[str, str]) -> Answer:
        rows = [
            {**row, **self._beside(noun, row)}
            for row in self._rows[noun].values()
            if all(str(row.get(name)) == value for name, value in query.items() if name in row)
        ]
        begin, limit = int(query.get("cursor", 0)), int(query.get("limit", LIMIT))
        end = begin + limit
        return 200, {noun: rows[begin:end], "next_cursor": str(end) if end < len(rows) else None}

    def _beside(self, noun: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a list says of a row more than the row itself."""
        if noun != "account_kits":
            return {}
        return {"users": sum(user["account_kit_id"] == row["id"] for user in self._rows["users"].values())}

    def _one(self, method: str, noun: str, name: str, body: Any) -> Answer:
        row = self._named(noun, name)
        if row is None:
            return 404, {"message": f"There is no {name}."}
        if method == "PATCH":
            row |= body or {}
        elif method == "DELETE":
            if noun == "account_kits":
                del self._rows[noun][row["id"]]
                return 200, {"id": row["id"], "deleted": True}
            row |= ENDED[noun]
        return 200, row

    def _named(self, noun: str, name: str) -> dict[str, Any] | None:
        if noun == "users" and name in ("default", "me"):
            return self._rows[noun][USER_ID]
        if noun == "users" and name.startswith("ext:"):
            found = (row for row in self._rows[noun].values() if row["external_id"] == name[4:])
            return next(found, None)
        return self._rows[noun].get(name)


def model_list(names: Sequence[str]) -> dict[str, Any]:
    models = [
        {
            "id": name,
            "name": name,
            "context_length": 128_000,
            "pricing": {"prompt": "0.000001", "completion": "0.000002"},
        }
        for name in names
    ]
    return {"object": "list", "count": len(models), "models": models, "data": models}


def estimate(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "allowed": True,
        "account_kit": {"id": KIT_ID, "name": "Default"},
        "user_id": USER_ID,
        "refusal": None,
        "models": asked.get("models") or [asked.get("model")],
        "price_known": True,
        "prompt_tokens_max": 100,
        "output_tokens_max": asked.get("max_tokens") or 1000,
        "max_tokens": None,
        "worst_case_cost_usd": Decimal("0.0001"),
        "worst_case_credits": Decimal("0.00025"),
        "least_credits": Decimal("0.00025"),
        "hold_credits": Decimal("0.00025"),
        "hold_grows": False,
    }


def generation(
    call_id: str, public_id: str, asked: Mapping[str, Any], *, cost_usd: Decimal, used: Decimal
) -> dict[str, Any]:
    return {
        "id": call_id,
        "naive_generation_id": public_id,
        "model": asked.get("model") or "fake/model",
        "streamed": bool(asked.get("stream")),
        "state": "settled",
        "created_at": AT,
        "settled_at": AT,
        "settlement_source": "inline",
        "total_cost": cost_usd,
        "usage": cost_usd,
        "credits_used": used,
        "credits_held": used,
        "user_id": USER_ID,
        "account_kit_id": KIT_ID,
        "corrections": [],
    }


def _account(path: str, user: Mapping[str, Any], balance: Decimal) -> dict[str, Any]:
    if path == "status":
        credits = {"balance": balance, "held": 0, "available": balance, "is_frozen": False}
        agent = {"key_id": None, "role": "owner", "user_id": USER_ID}
        return {"agent": agent, "company": COMPANY, "credits": credits}
    if path == "auth/me":
        own = {"account_kit_id": None, "active_tenant_user_id": None, "expires_at": None, "session_id": None}
        asks = {"kind": "key", "role": "owner", "is_narrow": False, "key": None, "person": None}
        return {**asks, **own, "company": COMPANY, "user": dict(user), "companies": []}
    counts = dict.fromkeys(("calls", "voided_calls", "tokens_prompt", "tokens_completion"), 0)
    money = dict.fromkeys(("cost_usd", "credits_used", "overrun"), 0)
    summary = {**counts, **money, "since": AT, "days": 30}
    return {"balance": balance, "held": 0, "transactions": [], "next_cursor": None, "summary": summary}
