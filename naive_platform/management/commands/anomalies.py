"""`manage.py anomalies [charge|void KIND REFERENCE]`: what a person must decide about calls, and that decision."""

import getpass
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import audit
from accounts.audit import Actor
from accounts.errors import DomainError
from accounts.models import AuditEntry
from billing import anomalies, money
from billing.anomalies import Anomaly


class Command(BaseCommand):
    help = (
        "List the evidence the books refused to act on, or decide about one: charge it, or void it. For good."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("decision", nargs="?", choices=["charge", "void"], help="leave out to list")
        parser.add_argument("kind", nargs="?", default="")
        parser.add_argument("reference", nargs="?", default="")
        parser.add_argument("--reason", default="", help="why; kept with the decision")
        parser.add_argument("--cost-usd", help="the call's whole cost where the evidence's own is not it")
        parser.add_argument("--actor", default=getpass.getuser(), help="who decides (default: your login)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["decision"]:
                self._decide(options)
            else:
                self._list()
        except DomainError as exc:
            raise CommandError(f"{exc.message} {exc.hint or ''}".strip()) from exc

    def _decide(self, options: dict[str, Any]) -> None:
        with audit.acting(Actor(kind=AuditEntry.Actor.OPERATOR, label=options["actor"])):
            decided = anomalies.decide(
                kind=options["kind"],
                reference=options["reference"],
                decision=options["decision"],
                actor=f"operator:{options['actor']}",
                reason=options["reason"],
                cost_usd=_cost(options["cost_usd"]),
            )
        charged = decided.charged_nanocredits
        self.stdout.write(
            f"{'Decided' if decided.is_new else 'Decided before'}: {decided.decision}."
            + (f" The call costs {money.json_number(charged)} credits." if charged is not None else "")
        )

    def _list(self) -> None:
        page = anomalies.list_open(limit=anomalies.LIST_MAX)
        for found in page.anomalies:
            self.stdout.write(_line(found))
        waiting = anomalies.count_open()
        if waiting:
            self.stdout.write(
                f"{waiting} to decide: manage.py anomalies charge|void KIND REFERENCE --reason …"
            )
        else:
            self.stdout.write("Nothing to decide.")


def _line(found: Anomaly) -> str:
    cost = "no cost" if found.cost_usd is None else f"{found.cost_usd:f} USD"
    about = f"company {found.company_id}" if found.company_id else "no company"
    when = found.created_at.isoformat(sep=" ", timespec="seconds")
    return f"{when}  {found.kind}  {found.reference}  {cost}  {found.state or 'no call'}  {about}"


def _cost(text: str | None) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation as exc:
        raise CommandError(f"--cost-usd {text!r} is no amount in USD.") from exc
