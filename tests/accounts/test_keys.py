"""Keys: their spelling, life, rotation, roles and spend caps."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from accounts import companies, ids, keys, kits, tenants
from accounts.errors import Conflict, Forbidden, InvalidInput, NotFound
from accounts.models import APIKey, TenantUser
from tests import factories, races

NOW = timezone.now()


def issue(member: factories.Cast, **changes: Any) -> keys.IssuedKey:
    wanted = {
        "name": "Test",
        "role": "member",
        "created_by_id": member.owner.id,
        "now": timezone.now(),
        **changes,
    }
    return keys.create(company_id=member.company_id, **wanted)


def test_secret_is_stored_nowhere() -> None:
    acme = factories.acme()
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(k)::text FROM accounts_apikey k WHERE id = %s", [acme.key.id])
        row = cursor.fetchone()[0]
    assert acme.secret not in row
    assert acme.secret[11:43] not in row
    assert acme.key.last_4 == acme.secret[-4:]


def test_secret_is_not_in_the_repr_of_what_carries_it() -> None:
    acme = factories.acme()
    assert acme.secret not in repr(issue(acme)) + repr(acme)


def test_key_has_at_most_its_creators_role() -> None:
    acme, clerk = factories.acme(), factories.globex().owner
    companies.add_member(company_id=acme.company_id, user_id=clerk.id, role="member", now=NOW)
    assert issue(acme, created_by_id=clerk.id, role="member").key.role == "member"
    with pytest.raises(Forbidden, match='"admin" is above "member"'):
        issue(acme, created_by_id=clerk.id, role="admin")


def test_key_is_made_by_members_only() -> None:
    with pytest.raises(NotFound, match="not a member"):
        issue(factories.acme(), created_by_id=factories.globex().owner.id)


def test_key_cannot_be_scoped_or_sealed_to_another_company() -> None:
    acme, globex = factories.acme(), factories.globex()
    with pytest.raises(NotFound, match=str(globex.kit.id)):
        issue(acme, account_kit_id=globex.kit.id)
    with pytest.raises(NotFound, match=str(globex.tenant_user.id)):
        issue(acme, active_tenant_user_id=globex.tenant_user.id)


def test_key_is_not_sealed_to_a_deleted_user() -> None:
    acme = factories.acme()
    user = tenants.create(company_id=acme.company_id, now=NOW)
    TenantUser.objects.filter(id=user.id).update(status="deleted")
    with pytest.raises(NotFound):
        issue(acme, active_tenant_user_id=user.id)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": " "}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"role": "root"}, "role"),
        ({"expires_at": NOW - timedelta(days=1)}, "expires_at"),
        ({"expires_at": datetime(2099, 1, 1)}, "expires_at"),  # noqa: DTZ001
        ({"cap_credits": Decimal(5)}, "cap_period"),
        ({"cap_period": "day"}, "cap_credits"),
        ({"cap_credits": Decimal(-1), "cap_period": "day"}, "cap_credits"),
        ({"cap_credits": Decimal("NaN"), "cap_period": "day"}, "cap_credits"),
        ({"cap_credits": Decimal(5), "cap_period": "year"}, "cap_period"),
    ],
)
def test_bad_input_is_refused_with_its_path(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{path}: "):
        issue(factories.acme(), **changes)


@pytest.mark.parametrize("act", [keys.get, keys.revoke, keys.rotate, keys.update])
def test_stranger_finds_no_key_and_learns_nothing(act: Callable[..., Any]) -> None:
    acme, globex = factories.acme(), factories.globex()
    more: dict[str, Any] = {} if act is keys.get else {"now": NOW}
    more |= {"changes": {"name": "Mine"}} if act is keys.update else {}
    messages = []
    for key_id in (acme.key.id, uuid4()):
        with pytest.raises(NotFound) as caught:
            act(company_id=globex.company_id, key_id=key_id, **more)
        messages.append(caught.value.message.replace(str(key_id), "…"))
    assert messages[0] == messages[1]
    assert APIKey.objects.get(id=acme.key.id).revoked_at is None


def test_revoking_twice_keeps_the_first_moment() -> None:
    acme = factories.acme()
    first = keys.revoke(company_id=acme.company_id, key_id=acme.key.id, now=NOW).revoked_at
    later = NOW + timedelta(hours=1)
    assert keys.revoke(company_id=acme.company_id, key_id=acme.key.id, now=later).revoked_at == first == NOW


def test_successor_keeps_everything_but_the_secret() -> None:
    acme = factories.acme()
    now = timezone.now()
    given_key = {"account_kit_id": acme.kit.id, "active_tenant_user_id": acme.tenant_user.id, "role": "admin"}
    old = issue(
        acme, **given_key, cap_credits=Decimal("2.5"), cap_period="week", expires_at=now + timedelta(days=9)
    )
    new = keys.rotate(company_id=acme.company_id, key_id=old.key.id, now=now)
    kept = ("family_id", "name", "role", "created_by_id", "account_kit_id", "active_tenant_user_id", "cap_credits",
            "cap_period", "expires_at")  # fmt: skip
    assert [getattr(new.key, name) for name in kept] == [getattr(old.key, name) for name in kept]
    assert new.secret != old.secret
    assert new.key.rotated_from == old.key
    ended = keys.get(company_id=acme.company_id, key_id=old.key.id)
    assert ended.expires_at == now + timedelta(hours=24)


def test_rotation_never_prolongs_the_old_key() -> None:
    acme = factories.acme()
    now = timezone.now()
    old = issue(acme, expires_at=now + timedelta(hours=1))
    keys.rotate(company_id=acme.company_id, key_id=old.key.id, now=now)
    assert keys.get(company_id=acme.company_id, key_id=old.key.id).expires_at == now + timedelta(hours=1)


def test_key_has_one_successor_however_many_ask_at_once() -> None:
    acme = factories.acme()

    def rotate() -> keys.IssuedKey:
        return keys.rotate(company_id=acme.company_id, key_id=acme.key.id, now=timezone.now())

    outcomes = races.at_once(*[rotate] * 4)
    assert sum(isinstance(outcome, keys.IssuedKey) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3
    assert APIKey.objects.filter(family_id=acme.key.family_id).count() == 2


def test_ended_key_is_neither_rotated_nor_changed() -> None:
    acme = factories.acme()
    keys.revoke(company_id=acme.company_id, key_id=acme.key.id, now=NOW)
    with pytest.raises(Conflict):
        keys.rotate(company_id=acme.company_id, key_id=acme.key.id, now=NOW)
    with pytest.raises(Conflict):
        keys.update(company_id=acme.company_id, key_id=acme.key.id, changes={"name": "x"}, now=NOW)


def test_cap_holds_for_the_whole_family() -> None:
    acme = factories.acme()
    new = keys.rotate(company_id=acme.company_id, key_id=acme.key.id, now=timezone.now())
    changes = {"cap_credits": 3, "cap_period": "total", "name": "Capped"}
    keys.update(company_id=acme.company_id, key_id=new.key.id, changes=changes, now=timezone.now())
    old = APIKey.objects.get(id=acme.key.id)
    assert (old.cap_credits, old.cap_period, old.name) == (Decimal(3), "total", "Default")
    none = {"cap_credits": None, "cap_period": ""}
    assert (
        keys.update(company_id=acme.company_id, key_id=new.key.id, changes=none, now=NOW).cap_credits is None
    )


def test_cap_holds_for_a_successor_that_is_made_meanwhile() -> None:
    acme = factories.acme()
    tip = keys.rotate(company_id=acme.company_id, key_id=acme.key.id, now=NOW).key
    changes = {"cap_credits": 3, "cap_period": "total"}
    races.behind(
        lambda: keys.rotate(company_id=acme.company_id, key_id=tip.id, now=NOW),
        lambda: keys.update(company_id=acme.company_id, key_id=acme.key.id, changes=changes, now=NOW),
    )
    caps = APIKey.objects.filter(family_id=acme.key.family_id).values_list("cap_credits", flat=True)
    assert list(caps) == [Decimal(3)] * 3


def test_keys_of_a_family_that_are_changed_at_once_take_turns() -> None:
    acme = factories.acme()
    tip = keys.rotate(company_id=acme.company_id, key_id=acme.key.id, now=NOW).key

    def change(key: APIKey, per_minute: int) -> APIKey:
        changes = {"requests_per_minute": per_minute}
        return keys.update(company_id=acme.company_id, key_id=key.id, changes=changes, now=NOW)

    outcomes = races.at_once(
        *[lambda number=number: change((acme.key, tip)[number % 2], number) for number in range(1, 9)]
    )
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    limits = APIKey.objects.filter(family_id=acme.key.family_id).values_list("requests_per_minute", flat=True)
    assert len(set(limits)) == 1


def test_scope_seal_and_secret_never_change() -> None:
    acme = factories.acme()
    for field in ("account_kit_id", "active_tenant_user_id", "role", "company_id", "digest", "revoked_at"):
        with pytest.raises(InvalidInput, match=field):
            keys.update(company_id=acme.company_id, key_id=acme.key.id, changes={field: None}, now=NOW)


def test_first_key_names_its_family() -> None:
    key = factories.acme().key
    assert key.family_id == key.id
    assert ids.parse(str(key.id)) == key.id


AT = datetime(2026, 11, 26, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "start"),
    [
        ("day", date(2026, 11, 26)),
        ("week", date(2026, 11, 23)),
        ("month", date(2026, 11, 1)),
        ("total", date(1970, 1, 1)),
    ],
)
def test_cap_period_starts(period: str, start: date) -> None:
    assert keys.cap_period_start(period, AT) == start


def test_cap_periods_turn_at_midnight_utc_wherever_the_caller_is() -> None:
    in_tokyo = AT.astimezone(timezone.get_fixed_timezone(9 * 60))
    assert in_tokyo.day == 27
    assert keys.cap_period_start("day", in_tokyo) == date(2026, 11, 26)
    assert settings.USE_TZ


def test_seal_and_kit_of_a_key_agree() -> None:
    acme = factories.acme()
    other = kits.create(company_id=acme.company_id, name="Other", now=NOW)
    with pytest.raises(InvalidInput, match=r"^account_kit_id: "):
        issue(acme, account_kit_id=other.id, active_tenant_user_id=acme.tenant_user.id)
    agreed = issue(acme, account_kit_id=acme.kit.id, active_tenant_user_id=acme.tenant_user.id)
    assert agreed.key.account_kit_id == acme.kit.id


def test_company_that_is_not_there_has_no_keys() -> None:
    nobody = uuid4()
    with pytest.raises(NotFound, match=f"Company {nobody}"):
        keys.create(company_id=nobody, name="Theirs", role="member", created_by_id=None, now=NOW)
