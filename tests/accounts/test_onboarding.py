"""Signing up: all of a company or nothing of it, once per e-mail address."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth import authenticate
from django.db import connection
from django.utils import timezone

from accounts.errors import DuplicateRecord, InvalidInput
from accounts.models import AccountKit, APIKey, Company, Membership, TenantUser, User
from billing.models import Wallet
from naive_platform import onboarding
from tests import factories, races

NOW = timezone.now()


def sign_up(**given: Any) -> onboarding.SignedUp:
    wanted = {
        "email": f"{uuid4().hex}@example.org",
        "password": factories.PASSWORD,
        "name": "Ada",
        "company_name": f"Company {uuid4().hex}",
        "now": NOW,
        **given,
    }
    return onboarding.sign_up(**wanted)


def test_sign_up_makes_a_whole_company() -> None:
    made = sign_up(email_verified=True)
    company_id = made.company.id
    assert Membership.objects.get(company_id=company_id, user=made.user).role == "owner"
    kit = AccountKit.objects.get(company_id=company_id)
    assert (kit.name, kit.is_default, kit.connections_config) == ("Default", True, {"mode": "open"})
    user = TenantUser.objects.get(company_id=company_id)
    assert (user.is_default, user.account_kit, user.status) == (True, kit, "active")
    key = APIKey.objects.get(company_id=company_id)
    assert (key.role, key.created_by, key.last_4) == ("owner", made.user, made.api_key_secret[-4:])
    assert Wallet.objects.get(company_id=company_id).posted_nanocredits == 20 * 10**9
    assert made.granted_credits == Decimal(20)


def test_nothing_is_granted_before_the_address_is_verified(settings: Any) -> None:
    made = sign_up(email_verified=False)
    assert made.granted_credits == 0
    assert Wallet.objects.get(company_id=made.company.id).posted_nanocredits == 0
    settings.DEBUG = True
    assert sign_up(email_verified=False).granted_credits == 20


def test_grant_is_what_the_operator_set(settings: Any) -> None:
    settings.SIGNUP_GRANT_CREDITS = Decimal("0.000000001")
    assert Wallet.objects.get(company_id=sign_up(email_verified=True).company.id).posted_nanocredits == 1
    settings.SIGNUP_GRANT_CREDITS = Decimal(0)
    assert Wallet.objects.get(company_id=sign_up(email_verified=True).company.id).posted_nanocredits == 0


def test_company_without_a_name_is_called_as_its_founder() -> None:
    assert sign_up(company_name=None, name="Ada Lovelace").company.name == "Ada Lovelace"


def test_founder_signs_in_whatever_the_case_of_the_address() -> None:
    made = sign_up(email=f"Ada.{uuid4().hex}@Example.ORG")
    for email in (made.user.email.lower(), made.user.email.upper()):
        assert authenticate(username=email, password=factories.PASSWORD) == made.user
    assert authenticate(username=made.user.email, password="wrong") is None


def test_address_is_taken_once_whatever_its_case() -> None:
    email = f"{uuid4().hex}@example.org"
    sign_up(email=email)
    with pytest.raises(DuplicateRecord, match="has an account already"):
        sign_up(email=email.upper(), company_name="Second try")
    assert not Company.objects.filter(name="Second try").exists()


def test_two_sign_ups_with_one_address_leave_one_company() -> None:
    email, name = f"{uuid4().hex}@example.org", f"Race {uuid4().hex}"
    outcomes = races.at_once(*[lambda: sign_up(email=email, company_name=name)] * 4)
    assert sum(isinstance(outcome, onboarding.SignedUp) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, DuplicateRecord) for outcome in outcomes) == 3
    assert User.objects.with_email(email).count() == Company.objects.filter(name=name).count() == 1


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"email": "ada"}, "email"),
        ({"email": ""}, "email"),
        ({"email": "a\x00@example.org"}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "password"}, "password"),
        ({"password": "x" * 2000}, "password"),
        ({"password": None}, "password"),
        ({"name": " "}, "name"),
        ({"company_name": "x" * 201}, "company_name"),
    ],
)
def test_bad_input_founds_nothing(given: dict[str, Any], path: str) -> None:
    email = f"{uuid4().hex}@example.org"
    with pytest.raises(InvalidInput, match=rf"^{path}: "):
        sign_up(**{"email": email, **given})
    assert not User.objects.with_email(email).exists()


def test_failure_at_the_wallet_leaves_no_company(settings: Any) -> None:
    # More than a BIGINT of nanocredits: the very last step fails.
    settings.SIGNUP_GRANT_CREDITS = Decimal(10) ** 12
    email = f"{uuid4().hex}@example.org"
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever billing calls it, nothing may be left.
        sign_up(email=email, email_verified=True)
    assert not User.objects.with_email(email).exists()
    assert connection.is_usable()


def test_password_is_not_stored_as_it_is() -> None:
    assert factories.PASSWORD not in User.objects.get(id=sign_up().user.id).password
