"""What a forked child becomes: a gateway, a Celery worker, beat, or somebody who moves money beside the calls."""

import importlib
import json
import random
import signal
import socket
import time
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import UUID

import uvicorn
from django.conf import settings
from django.db import OperationalError, connection, connections
from django.utils import timezone

from accounts import keys, tenants
from billing import anomalies, ledger, spool, verification
from billing.errors import BooksUnavailable, HoldNotFound
from llm import catalog, upstream
from naive_platform import celery, schedule, stack
from tests import factories
from tests.chaos import plans
from tests.chaos.plans import Plan

USERS = 8
# Credits to begin with, and the share of all calls: a call costs 0.0001 to 0.01 of them.
KINDS: tuple[tuple[str, int, str, float], ...] = (
    ("hot", 2, "50", 0.22),
    ("plain", 8, "20", 0.045),
    ("poor", 4, "0.01", 0.03),
    ("key-capped", 2, "20", 0.02),
    ("user-capped", 2, "20", 0.02),
)
KEY_CAP_CREDITS = Decimal("0.2")
USER_CAP_CREDITS = Decimal("0.05")
TOP_UP_EVERY_S = (0.05, 0.3)
AGAIN_S = 0.2
# Of a payment, an order is given again though it was carried out: its answer may have been lost.
TWICE = 0.3


def prepare(plan: Plan) -> None:
    """Bring the constants of this process to the harness's pace, and put its mutant in; before anything is forked."""
    for module, name, value in plans.CONSTANTS:
        if not hasattr(importlib.import_module(module), name):
            raise AttributeError(f"{module}.{name} is not there any more: the harness paces it.")
        setattr(importlib.import_module(module), name, value)
    for task, seconds in plans.TICK_S.items():
        schedule.ENTRIES[task]["schedule"] = seconds
    if plan.mutant == "no-spool":
        spool.append = lambda record: True


def gateway(listener: socket.socket) -> None:
    """Serve as `manage.py up` has it served (naive_platform/stack.py)."""
    config = uvicorn.Config(
        "naive_platform.asgi:application",
        loop="uvloop",
        http="naive_platform.connections:Connection",
        ws="none",
        lifespan="on",
        access_log=False,
        timeout_graceful_shutdown=stack.GATEWAY_GRACE_S,
    )
    uvicorn.Server(config).run(sockets=[listener])


def worker(number: int) -> None:
    celery.app.worker_main(["worker", "-l", "info", "-n", f"worker-{number}@chaos", *stack.WORKER])


def beat(folder: Path) -> None:
    celery.app.start(["beat", "-l", "info", "--schedule", str(folder / "beat-schedule"), "--pidfile="])


def found_companies(folder: Path) -> None:
    """Sign the companies up, fetch the catalogue, and write cast.json but for the gateway's port."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    with connection.cursor() as cursor:
        catalog.save(upstream.look_up("models"), cursor.execute)
    companies = [
        {"kind": kind, "weight": weight, **_company(kind, Decimal(credits))}
        for kind, count, credits, weight in KINDS
        for _ in range(count)
    ]
    (folder / "cast.json").write_text(json.dumps({"companies": companies}))


def pay_in(folder: Path, seed: int) -> None:
    """Top companies up and correct calls until SIGTERM; every order is carried out, however often it is given.

    Shape: orders.jsonl has each order before it is given for the first time, and "done" when it was acknowledged.
    """
    ending: list[int] = []

    def note_end(number: int, _frame: FrameType | None) -> None:
        ending.append(number)

    signal.signal(signal.SIGTERM, note_end)
    companies = json.loads((folder / "cast.json").read_text())["companies"]
    chance = random.Random(f"{seed}:orders")
    with (folder / "orders.jsonl").open("a", buffering=1) as orders:
        for number in range(1_000_000):
            if ending:
                break
            order = _order(number, companies, chance)
            if order is not None:
                orders.write(json.dumps(order) + "\n")
                order["outcome"] = _carry_out(order, chance)
                orders.write(json.dumps({"done": number, "outcome": order["outcome"]}) + "\n")
            time.sleep(chance.uniform(*TOP_UP_EVERY_S))
    connections.close_all()


def decide(folder: Path) -> None:
    """Be the person whom the books put things before: news of a call that was given back too early is believed.

    Shape: decisions.json counts them; whatever else there is contradicts an operator's word, and is rejected.
    """
    counts = {"charge": 0, "void": 0}
    while page := anomalies.list_open(limit=anomalies.LIST_MAX).anomalies:
        for found in page:
            is_late = found.kind == "late_broadcast" and found.details.get("settled_from") == "no_evidence"
            word: anomalies.Word = "charge" if is_late or found.state == "parked" else "void"
            anomalies.decide(
                kind=found.kind,
                reference=found.reference,
                decision=word,
                actor="chaos",
                reason="upstream told so",
            )
            counts[word] += 1
    (folder / "decisions.json").write_text(json.dumps(counts))


def verify(folder: Path) -> None:
    """Write what `manage.py verify_ledger` says to verified.json."""
    report = verification.verify()
    found = {
        "ok": report.is_ok,
        "violations": [f"{v.rule}: {v.company_id} {v.reference}" for v in report.violations],
        "cost_usd": f"{report.cost_usd:f}",
    }
    draft = folder / "verified.new"
    draft.write_text(json.dumps(found))
    draft.replace(folder / "verified.json")


def _company(kind: str, credits: Decimal) -> dict[str, Any]:
    member = factories.acme(credits=credits)
    for number in range(USERS):
        tenants.create(company_id=member.company_id, now=timezone.now(), external_id=f"u{number}")
    secret = member.secret
    if kind == "key-capped":
        issued = keys.create(
            company_id=member.company_id,
            name="capped",
            role="member",
            created_by_id=member.owner.id,
            now=timezone.now(),
            cap_credits=KEY_CAP_CREDITS,
            cap_period="month",
        )
        secret = issued.secret
    if kind == "user-capped":
        factories.set_llm(
            member, {"enabled": True, "defaults": {"monthly_credits_per_user": str(USER_CAP_CREDITS)}}
        )
    return {"id": str(member.company_id), "secret": secret}


def _order(number: int, companies: list[dict[str, Any]], chance: random.Random) -> dict[str, Any] | None:
    poor = [company["id"] for company in companies if company["kind"] == "poor"]
    if chance.random() < 0.7:
        company_id = chance.choice(poor) if chance.random() < 0.8 else chance.choice(companies)["id"]
        amount = chance.randrange(1_000_000, 20_000_000)
        return {"order": number, "kind": "credit_topup", "company": company_id, "nanocredits": amount}
    company_id = chance.choice(companies)["id"]
    found = _settled_call(company_id)
    if found is None:
        return None
    hold_id, cost_usd = found
    cost = (cost_usd * chance.choice((Decimal("0.5"), Decimal("1.25")))).normalize()
    return {
        "order": number,
        "kind": "correction",
        "company": company_id,
        "hold": str(hold_id),
        "cost_usd": f"{cost:f}",
    }


def _settled_call(company_id: str) -> tuple[UUID, Decimal] | None:
    """A call of this company's that was charged and never corrected."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT s.hold_id, s.cost_usd FROM billing_settlement s WHERE s.company_id = %s AND s.cost_usd > 0 "
                "AND NOT EXISTS (SELECT FROM billing_correction c WHERE (c.company_id, c.hold_id) ="
                " (s.company_id, s.hold_id)) ORDER BY s.hold_id DESC LIMIT 1",
                [company_id],
            )
            found: tuple[UUID, Decimal] | None = cursor.fetchone()
            return found
    except OperationalError:
        connection.close()
        return None


def _carry_out(order: dict[str, Any], chance: random.Random) -> str:
    """Give an order until it is acknowledged, and now and then once more."""
    outcome = ""
    times = 2 if chance.random() < TWICE else 1
    while times:
        try:
            outcome = _give(order)
            times -= 1
        except (BooksUnavailable, OperationalError):
            connection.close()
            time.sleep(AGAIN_S)
        except HoldNotFound:
            return "not settled"
    return outcome


def _give(order: dict[str, Any]) -> str:
    reference = f"chaos-{order['order']}"
    if order["kind"] == "credit_topup":
        posted = ledger.post(
            company_id=UUID(order["company"]),
            amount_nanocredits=order["nanocredits"],
            action="credit_topup",
            reference=reference,
        )
        return "posted" if posted.is_new else "already"
    return ledger.correct(
        company_id=UUID(order["company"]),
        hold_id=UUID(order["hold"]),
        cost_usd=Decimal(order["cost_usd"]),
        source="operator",
        reference=reference,
    ).outcome
