"""`manage.py changepassword`: Django's, which sets a person's password, with the audit entry of it."""

from typing import Any

from django.contrib.auth.management.commands import changepassword

from naive_platform import operator_commands


class Command(changepassword.Command):
    def handle(self, *args: Any, **options: Any) -> str | None:
        with operator_commands.recorded():
            return super().handle(*args, **options)
