"""Tenant users: created, changed, suspended; never another company's."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import kits, tenants
from accounts.errors import Conflict, DuplicateRecord, InvalidInput, NotFound
from accounts.models import AuditEntry, TenantUser
from tests import factories, races

NOW = timezone.now()


def make(member: factories.Cast, **given: Any) -> TenantUser:
    return tenants.create(company_id=member.company_id, now=NOW, **given)


def change(member: factories.Cast, user: TenantUser, **changes: Any) -> TenantUser:
    return tenants.update(company_id=member.company_id, user_id=user.id, changes=changes)


def test_user_is_created_under_the_default_kit() -> None:
    acme = factories.acme()
    user = make(acme, external_id="alice", email="alice@example.org", label="Alice", metadata={"plan": "pro"})
    found = tenants.get(company_id=acme.company_id, user_id=user.id)
    assert (found.external_id, found.email, found.label) == ("alice", "alice@example.org", "Alice")
    assert (found.status, found.account_kit_id, found.metadata) == ("active", acme.kit.id, {"plan": "pro"})


def test_external_ids_are_unique_in_the_company_only() -> None:
    acme, globex = factories.acme(), factories.globex()
    make(acme, external_id="alice")
    make(globex, external_id="alice")
    with pytest.raises(DuplicateRecord, match='external_id "alice"'):
        make(acme, external_id="alice")
    with pytest.raises(DuplicateRecord):
        change(acme, make(acme), external_id="alice")


def test_users_without_external_id_are_any_number() -> None:
    acme = factories.acme()
    assert make(acme).external_id is make(acme).external_id is None


def test_same_external_id_at_once_is_taken_once() -> None:
    acme = factories.acme()
    outcomes = races.at_once(*[lambda: make(acme, external_id="bob")] * 4)
    assert sum(isinstance(outcome, TenantUser) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, DuplicateRecord) for outcome in outcomes) == 3


def test_foreign_kit_is_not_found() -> None:
    acme, globex = factories.acme(), factories.globex()
    for kit_id in (globex.kit.id, uuid4()):
        with pytest.raises(NotFound, match=str(kit_id)):
            make(acme, account_kit_id=kit_id)
        with pytest.raises(NotFound, match=str(kit_id)):
            tenants.assign_kit(company_id=acme.company_id, user_id=acme.tenant_user.id, account_kit_id=kit_id)


@pytest.mark.parametrize("act", [tenants.get, tenants.suspend, tenants.reactivate, tenants.delete])
def test_stranger_finds_no_user(act: Callable[..., Any]) -> None:
    acme, globex = factories.acme(), factories.globex()
    for user_id in (make(acme).id, uuid4()):
        with pytest.raises(NotFound, match=str(user_id)):
            act(company_id=globex.company_id, user_id=user_id)


def test_delete_suspends_and_the_default_user_stays() -> None:
    acme = factories.acme()
    user = make(acme)
    assert tenants.delete(company_id=acme.company_id, user_id=user.id).status == "suspended"
    assert tenants.reactivate(company_id=acme.company_id, user_id=user.id).status == "active"
    with pytest.raises(Conflict, match="default user cannot be deleted"):
        tenants.delete(company_id=acme.company_id, user_id=acme.tenant_user.id)


def test_deleted_user_is_not_found() -> None:
    acme = factories.acme()
    user = make(acme)
    TenantUser.objects.filter(id=user.id).update(status="deleted")
    with pytest.raises(NotFound):
        tenants.get(company_id=acme.company_id, user_id=user.id)
    with pytest.raises(NotFound):
        tenants.reactivate(company_id=acme.company_id, user_id=user.id)


def test_metadata_is_merged_and_null_removes_a_key() -> None:
    acme = factories.acme()
    user = make(acme, metadata={"plan": "pro", "seats": 3})
    assert change(acme, user, metadata={"plan": None, "city": "Oslo"}).metadata == {
        "seats": 3,
        "city": "Oslo",
    }


def test_metadata_fits_in_16_kilobytes_also_when_merged() -> None:
    acme = factories.acme()
    user = make(acme, metadata={"a": "x" * 10_000})
    with pytest.raises(InvalidInput, match="metadata: must take at most 16384 bytes"):
        change(acme, user, metadata={"b": "x" * 10_000})


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"external_id": ""}, "external_id"),
        ({"external_id": "x" * 256}, "external_id"),
        ({"external_id": "a\x00"}, "external_id"),
        ({"external_id": 7}, "external_id"),
        ({"email": "not an address"}, "email"),
        ({"label": "x" * 201}, "label"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": float("nan")}}, "metadata"),
    ],
)
def test_bad_input_is_refused_with_its_path(given: dict[str, Any], path: str) -> None:
    acme = factories.acme()
    with pytest.raises(InvalidInput, match=rf"^{path}: "):
        make(acme, **given)
    with pytest.raises(InvalidInput, match=rf"^{path}: "):
        change(acme, acme.tenant_user, **given)


@pytest.mark.parametrize("field", ["id", "company_id", "is_default", "created_at", "wallet_id", "balance"])
def test_what_a_user_does_not_have_cannot_be_set(field: str) -> None:
    acme = factories.acme()
    with pytest.raises(InvalidInput, match=rf"^user\.{field}: "):
        change(acme, acme.tenant_user, **{field: "x"})


@pytest.mark.parametrize("status", ["deleted", "ACTIVE", None, 1])
def test_status_is_active_or_suspended(status: object) -> None:
    acme = factories.acme()
    with pytest.raises(InvalidInput, match=r"^status: must be one of active, suspended"):
        change(acme, acme.tenant_user, status=status)


def test_company_that_is_not_there_has_no_users() -> None:
    nobody = uuid4()
    with pytest.raises(NotFound, match=f"Company {nobody}"):
        tenants.create(company_id=nobody, now=NOW)


def test_user_that_is_deleted_is_not_assigned_by_name_and_does_not_keep_a_kit() -> None:
    acme = factories.acme()
    gone = make(acme)
    TenantUser.objects.filter(id=gone.id).update(status="deleted")
    pro = kits.create(company_id=acme.company_id, name="Pro", now=NOW)
    with pytest.raises(NotFound, match=str(gone.id)):
        tenants.assign_many(company_id=acme.company_id, account_kit_id=pro.id, users=[gone.id])
    moved = tenants.assign_many(company_id=acme.company_id, account_kit_id=pro.id, from_kit_id=acme.kit.id)
    assert moved == tenants.Assigned(assigned=2, unchanged=0)


def test_bulk_assignment_while_users_change_loses_neither() -> None:
    acme = factories.acme()
    user = make(acme)
    pro = kits.create(company_id=acme.company_id, name="Pro", now=NOW)
    outcomes = races.at_once(
        lambda: tenants.assign_many(company_id=acme.company_id, account_kit_id=pro.id),
        lambda: change(acme, user, label="Renamed"),
        lambda: tenants.delete(company_id=acme.company_id, user_id=user.id),
    )
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    found = TenantUser.objects.get(id=user.id)
    assert (found.account_kit_id, found.label, found.status) == (pro.id, "Renamed", "suspended")


def test_bulk_assignment_counts_those_it_moved() -> None:
    """Of those who had the kit, one is given a third kit while everybody of it is moved."""
    acme = factories.acme()
    user = make(acme)
    pro, third = (kits.create(company_id=acme.company_id, name=name, now=NOW) for name in ("Pro", "Third"))
    moved = races.behind(
        lambda: change(acme, user, account_kit_id=third.id),
        lambda: tenants.assign_many(
            company_id=acme.company_id, account_kit_id=pro.id, from_kit_id=acme.kit.id
        ),
    )
    assert moved == tenants.Assigned(assigned=1, unchanged=0)
    entry = AuditEntry.objects.filter(company_id=acme.company_id, target_id=str(pro.id)).latest("id")
    assert entry.after == {"users_by_kit": {str(pro.id): 1}}


def test_change_writes_only_its_own_columns() -> None:
    acme = factories.acme()
    with CaptureQueriesContext(connection) as queries:
        change(acme, acme.tenant_user, label="Renamed", account_kit_id=acme.kit.id)
    [update] = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    assert '"label"' in update
    assert '"account_kit_id"' in update
    assert '"last_active_at"' not in update
