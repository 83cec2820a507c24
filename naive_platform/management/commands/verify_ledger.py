"""`manage.py verify_ledger [--json]`: says whether the books are right, and where they are not."""

import sys
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandParser

from billing import money, verification
from billing.verification import Report, Violation


class Command(BaseCommand):
    help = "Check every invariant of the books and recompute every charge; exit 1 where something is wrong."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="end with one line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        report = verification.verify()
        self._print_violations(report)
        if options["json"]:
            self.stdout.write(_json(report))
        else:
            self._print_totals(report)
        if not report.is_ok:
            sys.exit(1)

    def _print_violations(self, report: Report) -> None:
        for found in report.violations:
            difference = found.difference_nanocredits
            self.stdout.write(
                f"company {found.company_id}  {found.reference}  "
                + (f"off by {difference:f} nanocredits  " if difference is not None else "not computable  ")
                + found.rule
            )
        more = report.violation_count - len(report.violations)
        if more:
            self.stdout.write(f"... and {more} more")

    def _print_totals(self, report: Report) -> None:
        rows = {
            "Violations": str(report.violation_count),
            "Open holds": str(report.open_holds),
            "Cost of all calls, USD": f"{report.cost_usd:f}",
            "Charged for them, credits": money.json_number(report.charged_nanocredits),
        }
        for name, value in rows.items():
            self.stdout.write(f"{name:<26} {value}")
        self.stdout.write("The books are right." if report.is_ok else "The books are WRONG.")


def _json(report: Report) -> str:
    return orjson.dumps(
        {
            "ok": report.is_ok,
            "violations": report.violation_count,
            "open_holds": report.open_holds,
            "cost_usd": f"{report.cost_usd:f}",
            "charged_credits": money.json_number(report.charged_nanocredits),
            "found": [_found(one) for one in report.violations],
        }
    ).decode()


def _found(violation: Violation) -> dict[str, str | None]:
    difference = violation.difference_nanocredits
    return {
        "company_id": str(violation.company_id),
        "reference": violation.reference,
        "rule": violation.rule,
        "difference_nanocredits": None if difference is None else f"{difference:f}",
    }
