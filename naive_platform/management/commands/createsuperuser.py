"""`manage.py createsuperuser`: Django's, which makes an operator, with the audit entry of it."""

from typing import Any

from django.contrib.auth.management.commands import createsuperuser

from naive_platform import operator_commands


class Command(createsuperuser.Command):
    def handle(self, *args: Any, **options: Any) -> str | None:
        with operator_commands.recorded():
            return super().handle(*args, **options)
