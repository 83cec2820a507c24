"""`manage.py credit COMPANY CREDITS …`: move a company's credits by hand, with who, why and a reference."""

import getpass
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts import audit, ids
from accounts.audit import Actor
from accounts.errors import DomainError
from accounts.models import AuditEntry, Company
from billing import money, movements

_PREFIX = "operator:"


class Command(BaseCommand):
    help = "Top up, grant, refund or correct a company's credits; the same reference again moves nothing."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("company", help="its id or slug")
        parser.add_argument("credits", help="exact, such as 12.5; negative only in a correction")
        parser.add_argument("--action", required=True, choices=movements.ACTIONS)
        parser.add_argument(
            "--reason", required=True, help="why; stands in the ledger for the company to read"
        )
        parser.add_argument("--reference", required=True, help="what names this movement, such as an invoice")
        parser.add_argument("--corrects", default="", help="the entry a refund or correction is about")
        parser.add_argument("--actor", default="", help="who moves it (default: your login)")
        parser.add_argument("--approved-by", default="", help="the second person, where one is needed")

    def handle(self, *args: Any, **options: Any) -> None:
        company_id = _company_id(options["company"])
        actor = _operator(options["actor"] or _login())
        try:
            with audit.acting(Actor(kind=AuditEntry.Actor.OPERATOR, label=actor.removeprefix(_PREFIX))):
                posted = movements.post(
                    company_id=company_id,
                    action=options["action"],
                    credits=_credits(options["credits"]),
                    actor=actor,
                    reason=options["reason"],
                    reference=options["reference"],
                    corrects=options["corrects"],
                    approved_by=_operator(options["approved_by"]),
                    now=timezone.now(),
                )
        except DomainError as exc:
            raise CommandError(f"{exc.message} {exc.hint or ''}".strip()) from exc
        self.stdout.write(
            f"{'Posted' if posted.is_new else 'Posted before'}: entry {posted.seq} of company {company_id}, "
            f"{money.json_number(posted.amount_nanocredits)} credits; the balance after it was "
            f"{money.json_number(posted.balance_after_nanocredits)}."
        )


def _company_id(named: str) -> UUID:
    company_id = ids.parse(named)
    found = Company.objects.filter(id=company_id) if company_id else Company.objects.filter(slug=named)
    company = found.first()
    if company is None:
        raise CommandError(f"There is no company {named!r}.")
    return company.id


def _login() -> str:
    try:
        return getpass.getuser()
    except OSError as exc:
        raise CommandError("This machine has no name for you: say who you are with --actor.") from exc


def _operator(name: str) -> str:
    """How the ledger spells a person on this command line; one spelling, so that nobody is two of them."""
    name = name.rpartition(":")[2].strip()
    return f"{_PREFIX}{name}" if name else ""


def _credits(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as exc:
        raise CommandError(f"{text!r} is no number of credits.") from exc
