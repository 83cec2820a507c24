"""`manage.py openapi`: writes docs/openapi.json anew from the code."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from naive_platform.openapi import document


class Command(BaseCommand):
    help = "Write docs/openapi.json anew; with --check only say whether it differs."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; fail where it differs")

    def handle(self, *args: Any, **options: Any) -> None:
        text = document.write(document.build())
        if options["check"]:
            if text != document.FILE.read_text():
                raise CommandError("docs/openapi.json differs from the code: run `manage.py openapi`.")
            return
        document.FILE.write_text(text)
        self.stdout.write(f"{document.FILE} written.")
