"""`manage.py seed_demo`: the demo company and the operator, with their sign-in in the data folder."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.errors import DomainError
from naive_platform import demo


class Command(BaseCommand):
    help = "Make the demo company and the operator, or find them; their sign-in is kept in demo.json."
    requires_system_checks = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            demo.seed(file=settings.DATA_DIR / "demo.json", now=timezone.now())
        except DomainError as exc:
            raise CommandError(exc.message) from exc
