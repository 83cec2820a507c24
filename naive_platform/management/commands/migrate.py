"""`manage.py migrate`: Django's as the owner of the schema, then the books' functions and everybody's rights."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader

from billing import functions, rights
from naive_platform import boot, logins


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with logins.as_owner():
                super().handle(*args, **options)
                if not (options["plan"] or options["check_unapplied"]):
                    _complete()
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        if options["verbosity"] and not rights.is_bound():
            self.stdout.write(self.style.WARNING(boot.ONE_LOGIN))


@transaction.atomic
def _complete() -> None:
    # Together: with its functions made anew and not yet granted, a running gateway would be refused every call.
    if _has_books():
        functions.apply(connection)
    rights.grant(role=logins.application_role())


def _has_books() -> bool:
    """Whether every migration of the books is applied: their functions stand on the tables of the last one."""
    loader = MigrationLoader(connection)
    return all(key in loader.applied_migrations for key in loader.disk_migrations if key[0] == "billing")
