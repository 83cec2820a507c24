"""The demo company and the operator are made once, and what no longer opens a door is replaced."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from accounts import keys, tokens
from accounts.errors import Conflict
from accounts.models import APIKey, AuditEntry, Membership, User
from billing import ledger
from naive_platform import demo
from tests import factories


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """Where the sign-in is kept; what a test makes is taken back, for the demo's names are the same in each."""
    with transaction.atomic():
        yield tmp_path / "demo.json"
        transaction.set_rollback(True)


def seed(file: Path) -> dict[str, Any]:
    demo.seed(file=file, now=timezone.now())
    told: dict[str, Any] = json.loads(file.read_text())
    return told


def key_of(told: dict[str, Any]) -> APIKey:
    return APIKey.objects.get(digest=tokens.digest(told["api_key"]))


def test_sign_in_and_key_open_what_they_promise(file: Path) -> None:
    told = seed(file)
    operator = User.objects.get(email=told["operator"]["email"])
    assert operator.check_password(told["operator"]["password"])
    assert (operator.is_staff, operator.is_superuser) == (True, True)
    person = User.objects.get(email=told["demo"]["email"])
    assert person.check_password(told["demo"]["password"])
    assert Membership.objects.filter(user=person, company=key_of(told).company, role="owner").exists()


def test_entries_say_who_was_made_and_whose_password_was_set(file: Path) -> None:
    for done in (["person.created"], ["person.created", "person.password_set"]):
        told = seed(file)
        for role in ("operator", "demo"):
            person = User.objects.get(email=told[role]["email"])
            rows = AuditEntry.objects.filter(target_id=str(person.id), action__startswith="person.")
            assert list(rows.order_by("id").values_list("action", flat=True)) == done
            assert {row.company_id for row in rows} == {None}
            assert told[role]["password"] not in repr([row.after for row in rows])
        file.unlink()


def test_demo_company_begins_with_its_grant(file: Path) -> None:
    wallet = ledger.balance(company_id=key_of(seed(file)).company_id)
    assert wallet.balance_nanocredits == 20 * 10**9


def test_file_is_for_its_owners_eyes_only(file: Path) -> None:
    seed(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_second_time_changes_nothing(file: Path) -> None:
    first = seed(file)
    assert seed(file) == first
    assert APIKey.objects.filter(company_id=key_of(first).company_id).count() == 1


def test_revoked_key_is_replaced_in_the_same_company(file: Path) -> None:
    old = key_of(first := seed(file))
    keys.revoke(company_id=old.company_id, key_id=old.id, now=timezone.now())
    second = seed(file)
    assert second["api_key"] != first["api_key"]
    assert key_of(second).company_id == old.company_id
    assert second["demo"] == first["demo"]


def test_lost_file_is_made_good(file: Path) -> None:
    first = seed(file)
    file.unlink()
    second = seed(file)
    assert User.objects.get(email=demo.OPERATOR_EMAIL).check_password(second["operator"]["password"])
    assert key_of(second).company_id == key_of(first).company_id


def test_password_that_the_person_has_changed_is_replaced(file: Path) -> None:
    seed(file)
    person = User.objects.get(email=demo.DEMO_EMAIL)
    person.set_password("another horse, another staple")
    person.save()
    told = seed(file)
    person.refresh_from_db()
    assert person.check_password(told["demo"]["password"])


@pytest.mark.parametrize(
    "found",
    [b"", b"{", b"\xff\xfe", b"[]", b'"x"', b'{"api_key": 7, "demo": [], "operator": {"password": {}}}',
     b'{"api_key": "\\ud800", "demo": {"password": "\\ud800"}}'],
)  # fmt: skip
def test_corrupt_file_is_written_anew(file: Path, found: bytes) -> None:
    first = seed(file)
    file.write_bytes(found)
    second = seed(file)
    assert second.keys() == first.keys()
    assert key_of(second).company_id == key_of(first).company_id
    assert User.objects.get(email=demo.DEMO_EMAIL).check_password(second["demo"]["password"])


def test_key_of_another_company_is_not_taken_for_the_demos(file: Path) -> None:
    first = seed(file)
    file.write_text(json.dumps({**first, "api_key": factories.globex().secret}))
    assert key_of(seed(file)).company_id == key_of(first).company_id


def test_deactivated_demo_person_is_told_to_the_operator(file: Path) -> None:
    seed(file)
    User.objects.filter(email=demo.DEMO_EMAIL).update(is_active=False)
    with pytest.raises(Conflict, match="is deactivated"):
        seed(file)
