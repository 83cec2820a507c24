"""`manage.py seed_demo`: the demo company and the operator; with --calls, a crowd of companies beside it."""

import argparse
import logging
import time
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.errors import DomainError
from naive_platform import demo, logins
from naive_platform.demo_data import crowd

CALLS_EACH = 2_500
USERS_EACH = 10


class Command(BaseCommand):
    help = "Make the demo company and the operator, or find them; their sign-in is kept in demo.json."
    requires_system_checks = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--no-past", action="store_true", help="a demo company without thirty days of calls"
        )
        parser.add_argument(
            "--calls", type=int, default=0, help="make other companies with so many calls, in bulk"
        )
        parser.add_argument("--companies", type=int, help="how many (default: one for 2,500 calls)")
        parser.add_argument("--users", type=int, help="of all of them together (default: ten each)")
        parser.add_argument("--days", type=int, default=90, help="over how many days (default: 90)")
        parser.add_argument(
            "--force", action="store_true", help="beside such companies that are there already"
        )
        parser.add_argument(
            "--yes-really", action="store_true", help="where DEBUG is off, or beside real companies"
        )

    def handle(self, *_args: Any, **given: Any) -> None:
        # An anomaly that is part of the story is no news for the log.
        logging.getLogger("billing.settlement").setLevel(logging.CRITICAL)
        try:
            # The past is told to the books, and they believe their owner alone.
            with logins.as_owner():
                if given["calls"]:
                    self._crowd(given)
                else:
                    file = settings.DATA_DIR / "demo.json"
                    demo.seed(file=file, now=timezone.now(), has_past=not given["no_past"])
        except DomainError as exc:
            raise CommandError(f"{exc.message} {exc.hint or ''}".strip()) from exc
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc

    def _crowd(self, given: dict[str, Any]) -> None:
        companies = given["companies"] or max(given["calls"] // CALLS_EACH, 1)
        size = crowd.Size(
            calls=given["calls"],
            companies=companies,
            users=given["users"] or companies * USERS_EACH,
            days=given["days"],
        )
        if min(size.calls, size.companies, size.users, size.days) < 1:
            raise CommandError("--calls, --companies, --users and --days must be 1 or more.")
        if not given["yes_really"]:
            _require_nobody_real()
        there = crowd.count()
        if there and not given["force"]:
            raise CommandError(f"There are {there:,} seeded companies already. --force adds others.")
        begun = time.monotonic()
        crowd.seed(size, now=timezone.now(), say=self._say)
        self._say(f"Done in {time.monotonic() - begun:,.0f} s.")

    def _say(self, message: str) -> None:
        self.stdout.write(message)
        self.stdout.flush()


def _require_nobody_real() -> None:
    """Errors: CommandError where the crowd would stand beside companies that nobody made for show."""
    if not settings.DEBUG:
        raise CommandError(
            "DEBUG is off: these companies would stand beside real ones. --yes-really makes them."
        )
    others = crowd.others(demo_email=demo.DEMO_EMAIL)
    if others:
        raise CommandError(
            f"This is no demo database: it has {len(others):,} companies of somebody's own, such as {others[0]!r}. "
            "Name another one in DATABASE_URL; --yes-really makes them here."
        )
