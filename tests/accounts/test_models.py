"""What the database itself refuses, whoever writes."""

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts import database, ids, kits, tenants
from accounts.models import APIKey, Role, User
from tests import factories


def refused(statement: str, **values: Any) -> str:
    """The constraint that refuses a statement."""
    with pytest.raises(IntegrityError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)
    return database.violated(caught.value)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("accounts_company SET status = 'gone' WHERE id", "accounts_company_status"),
        ("accounts_company SET markup = -1 WHERE id", "accounts_company_markup"),
        ("accounts_company SET markup = 0 WHERE id", "accounts_company_markup"),
        ("accounts_company SET markup = 'NaN' WHERE id", "accounts_company_markup"),
        ("accounts_membership SET role = 'root' WHERE company_id", "accounts_membership_role"),
        ("accounts_tenantuser SET status = 'gone' WHERE company_id", "accounts_tenantuser_status"),
        ("accounts_tenantuser SET status = 'deleted' WHERE company_id", "accounts_tenantuser_default_stays"),
        (
            "accounts_tenantuser SET external_id = '' WHERE company_id",
            "accounts_tenantuser_external_id_not_empty",
        ),
        ("accounts_apikey SET role = 'root' WHERE company_id", "accounts_apikey_role"),
        ("accounts_apikey SET cap_credits = 5 WHERE company_id", "accounts_apikey_cap"),
        ("accounts_apikey SET cap_period = 'day' WHERE company_id", "accounts_apikey_cap"),
        ("accounts_apikey SET cap_credits = -1, cap_period = 'day' WHERE company_id", "accounts_apikey_cap"),
        (
            "accounts_apikey SET cap_credits = 'NaN', cap_period = 'day' WHERE company_id",
            "accounts_apikey_cap",
        ),
        ("accounts_apikey SET cap_credits = 1, cap_period = 'year' WHERE company_id", "accounts_apikey_cap"),
    ],
)
def test_value_outside_its_rule_is_refused(change: str, constraint: str) -> None:
    acme = factories.acme()
    assert refused(f"UPDATE {change} = %(company)s", company=acme.company_id) == constraint


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("accounts_tenantuser SET account_kit_id = %(kit)s", "accounts_tenantuser_account_kit"),
        ("accounts_apikey SET account_kit_id = %(kit)s", "accounts_apikey_account_kit"),
        ("accounts_apikey SET active_tenant_user_id = %(user)s", "accounts_apikey_active_tenant_user"),
    ],
)
def test_row_never_refers_to_another_companys_row(change: str, constraint: str) -> None:
    acme, globex = factories.acme(), factories.globex()
    values = {"company": acme.company_id, "kit": globex.kit.id, "user": globex.tenant_user.id}
    assert refused(f"UPDATE {change} WHERE company_id = %(company)s", **values) == constraint


def test_company_has_one_default_kit_and_one_default_user() -> None:
    acme = factories.acme()
    kit = kits.create(company_id=acme.company_id, name="Two", now=timezone.now())
    user = tenants.create(company_id=acme.company_id, now=timezone.now())
    promoted = "UPDATE accounts_accountkit SET is_default = true WHERE id = %(id)s"
    assert refused(promoted, id=kit.id) == "accounts_accountkit_one_default"
    promoted = "UPDATE accounts_tenantuser SET is_default = true WHERE id = %(id)s"
    assert refused(promoted, id=user.id) == "accounts_tenantuser_one_default"


def test_digest_is_one_keys_only() -> None:
    acme, globex = factories.acme(), factories.globex()
    twice = "UPDATE accounts_apikey SET digest = %(digest)s WHERE company_id = %(company)s"
    assert "digest" in refused(twice, digest=bytes(acme.key.digest), company=globex.company_id)


def test_address_is_one_persons_whatever_its_case() -> None:
    owner = factories.acme().owner
    again = "UPDATE accounts_user SET email = %(email)s WHERE id = %(id)s"
    other = factories.globex().owner
    assert refused(again, email=owner.email.upper(), id=other.id) == "accounts_user_email"


def test_roles_are_ranked() -> None:
    assert [role.is_at_most(Role.ADMIN) for role in Role] == [False, True, True, True]
    assert all(role.is_at_most(role) for role in Role)


def test_superuser_is_staff_and_found_by_address() -> None:
    email = f"{ids.uuid7().hex}@Example.org"
    made = User.objects.create_superuser(email, factories.PASSWORD, name="Operator")
    assert (made.is_staff, made.is_superuser) == (True, True)
    assert User.objects.get_by_natural_key(email.swapcase()) == made
    with pytest.raises(User.DoesNotExist):
        User.objects.get_by_natural_key("")


def test_live_keys_are_neither_revoked_nor_past_their_end() -> None:
    acme = factories.acme()
    now = timezone.now()
    assert APIKey.objects.live(now).get(company_id=acme.company_id) == acme.key
    APIKey.objects.filter(id=acme.key.id).update(expires_at=now)
    assert not APIKey.objects.live(now).filter(company_id=acme.company_id).exists()
    APIKey.objects.filter(id=acme.key.id).update(expires_at=None)
    User.objects.filter(id=acme.owner.id).update(is_active=False)
    assert not APIKey.objects.live(now).filter(company_id=acme.company_id).exists()
    APIKey.objects.filter(id=acme.key.id).update(created_by=None)
    assert APIKey.objects.live(now).filter(company_id=acme.company_id).exists()
