"""Django's own commands that make people or set their passwords: they leave their entries too."""

import contextlib
import getpass
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction
from django.db.models.signals import post_save

from accounts import audit
from accounts.audit import Actor
from accounts.models import AuditEntry, User


def login() -> str:
    """Who sits at this machine. Errors: CommandError."""
    try:
        return getpass.getuser()
    except OSError as exc:
        raise CommandError("This machine has no name for you: set LOGNAME to who you are.") from exc


@contextlib.contextmanager
def recorded() -> Iterator[None]:
    """Whomever the block saves, it leaves the entry of it, both or neither. Errors: CommandError."""
    with audit.acting(Actor(kind=AuditEntry.Actor.OPERATOR, label=login())), transaction.atomic():
        post_save.connect(_record, sender=User)
        try:
            yield
        finally:
            post_save.disconnect(_record, sender=User)


def _record(instance: User, created: bool, **_: Any) -> None:  # noqa: FBT001 - Django's signature.
    told = {"email": instance.email, "name": instance.name, "is_superuser": instance.is_superuser}
    audit.record(
        company_id=None,
        action="person.created" if created else "person.password_set",
        target_kind="person",
        target_id=instance.id,
        target_label=instance.email,
        after=told if created else None,
    )
