"""Django's own commands for people leave their entries, and nothing where they fail."""

from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models.signals import post_save

from accounts.models import AuditEntry, User
from tests import factories


def entries(email: str) -> list[tuple[str, str, bool]]:
    rows = AuditEntry.objects.filter(target_label=email, company_id=None).order_by("id")
    return [(row.action, row.actor_kind, bool(row.actor_label)) for row in rows]


def made() -> str:
    email = f"{uuid4().hex}@operator.example"
    call_command("createsuperuser", email=email, name="Operator", interactive=False, verbosity=0)
    return email


def test_operator_who_is_made_leaves_the_entry() -> None:
    email = made()
    assert User.objects.get(email=email).is_superuser
    assert entries(email) == [("person.created", "operator", True)]
    (entry,) = AuditEntry.objects.filter(target_label=email)
    assert entry.after == {"email": email, "name": "Operator", "is_superuser": True}


def test_password_that_is_set_leaves_the_entry_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    email = made()
    monkeypatch.setattr("getpass.getpass", lambda *_, **__: factories.PASSWORD)
    call_command("changepassword", email)
    assert User.objects.get(email=email).check_password(factories.PASSWORD)
    assert entries(email)[1:] == [("person.password_set", "operator", True)]
    told = [*AuditEntry.objects.filter(target_label=email).values()]
    assert factories.PASSWORD not in repr(told)


def test_command_that_fails_leaves_nothing_and_listens_no_more() -> None:
    listening = len(post_save.receivers)
    with pytest.raises(CommandError):
        call_command("createsuperuser", email="no address", name="", interactive=False, verbosity=0)
    assert entries("no address") == []
    assert len(post_save.receivers) == listening
