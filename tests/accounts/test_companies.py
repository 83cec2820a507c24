"""Companies: founded whole, suspended, closed; people who join, change place and leave."""

from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts import companies, keys, people
from accounts.errors import Conflict, DuplicateRecord, InvalidInput, NotFound
from accounts.models import APIKey, AuditEntry, Company, Membership, User
from tests import factories, races

NOW = timezone.now()


def person() -> User:
    email = f"{uuid4().hex}@example.org"
    return people.create(email=email, password=factories.PASSWORD, name="Someone", now=NOW)


def joined(member: factories.Cast, role: str) -> User:
    user = person()
    companies.add_member(company_id=member.company_id, user_id=user.id, role=role, now=NOW)
    return user


def issue(member: factories.Cast, user: User, role: str) -> APIKey:
    return keys.create(
        company_id=member.company_id, name="Theirs", role=role, created_by_id=user.id, now=NOW
    ).key


def test_names_may_repeat_and_slugs_do_not() -> None:
    owner, name = person(), f"Same name {uuid4()}"
    made = [companies.create(name=name, owner_id=owner.id, now=NOW).company for _ in range(3)]
    assert len({company.slug for company in made}) == 3
    assert {company.name for company in made} == {name}


def test_slugs_of_companies_founded_at_once_differ() -> None:
    owner, name = person(), f"Rush {uuid4()}"
    outcomes = races.at_once(*[lambda: companies.create(name=name, owner_id=owner.id, now=NOW)] * 4)
    assert all(isinstance(outcome, companies.Founded) for outcome in outcomes), outcomes


def test_name_without_letters_still_gets_a_slug() -> None:
    assert companies.create(name="株式会社", owner_id=person().id, now=NOW).company.slug.startswith("company")


def test_company_is_renamed_and_its_slug_stays() -> None:
    acme = factories.acme()
    renamed = companies.rename(company_id=acme.company_id, name="New name")
    assert (renamed.name, renamed.slug) == ("New name", acme.company.slug)


def test_closed_company_stays_closed_and_its_keys_are_revoked() -> None:
    acme = factories.acme()
    companies.close(company_id=acme.company_id, now=NOW)
    assert APIKey.objects.get(id=acme.key.id).revoked_at == NOW
    with pytest.raises(Conflict, match="is closed"):
        companies.reactivate(company_id=acme.company_id)


def test_unknown_company_is_not_found() -> None:
    with pytest.raises(NotFound):
        companies.suspend(company_id=uuid4())


@pytest.mark.parametrize(
    "markup", [Decimal(text) for text in ("-1", "0", "NaN", "Infinity", "101", "1.00001")]
)
def test_markup_is_a_small_exact_number(markup: Decimal) -> None:
    acme = factories.acme()
    with pytest.raises(InvalidInput, match=r"^markup: "):
        companies.set_markup(company_id=acme.company_id, markup=markup)
    companies.set_markup(company_id=acme.company_id, markup=Decimal("1.0825"))
    assert Company.objects.get(id=acme.company_id).markup == Decimal("1.0825")


def test_person_joins_once() -> None:
    acme = factories.acme()
    user = joined(acme, "viewer")
    with pytest.raises(DuplicateRecord):
        companies.add_member(company_id=acme.company_id, user_id=user.id, role="admin", now=NOW)
    with pytest.raises(InvalidInput, match=r"^role: must be one of owner, admin, member, viewer"):
        companies.add_member(company_id=acme.company_id, user_id=person().id, role="root", now=NOW)


def test_leaving_revokes_the_keys_one_made_here_and_nowhere_else() -> None:
    acme, globex = factories.acme(), factories.globex()
    user = joined(acme, "admin")
    companies.add_member(company_id=globex.company_id, user_id=user.id, role="admin", now=NOW)
    here, there = issue(acme, user, "admin"), issue(globex, user, "admin")
    companies.remove_member(company_id=acme.company_id, user_id=user.id, now=NOW)
    here.refresh_from_db()
    there.refresh_from_db()
    assert (here.revoked_at, there.revoked_at) == (NOW, None)
    assert APIKey.objects.get(id=acme.key.id).revoked_at is None


def test_keys_keep_no_role_above_their_makers() -> None:
    acme = factories.acme()
    user = joined(acme, "admin")
    high, low = issue(acme, user, "admin"), issue(acme, user, "viewer")
    companies.change_role(company_id=acme.company_id, user_id=user.id, role="member")
    high.refresh_from_db()
    low.refresh_from_db()
    assert (high.role, low.role) == ("member", "viewer")


def test_last_owner_neither_leaves_nor_steps_down() -> None:
    acme = factories.acme()
    with pytest.raises(Conflict, match="at least one owner"):
        companies.remove_member(company_id=acme.company_id, user_id=acme.owner.id, now=NOW)
    with pytest.raises(Conflict, match="at least one owner"):
        companies.change_role(company_id=acme.company_id, user_id=acme.owner.id, role="admin")
    assert APIKey.objects.get(id=acme.key.id).revoked_at is None


def test_owners_who_leave_at_once_do_not_both_succeed() -> None:
    acme = factories.acme()
    others = [acme.owner, joined(acme, "owner"), joined(acme, "owner")]

    def leave(user: User) -> str:
        companies.remove_member(company_id=acme.company_id, user_id=user.id, now=NOW)
        return "left"

    outcomes = races.at_once(*[lambda user=user: leave(user) for user in others])
    assert sorted(map(str, outcomes)) == ["A company keeps at least one owner.", "left", "left"]
    assert Membership.objects.filter(company_id=acme.company_id, role="owner").count() == 1


def test_database_itself_refuses_to_lose_the_last_owner() -> None:
    acme = factories.acme()
    with pytest.raises(IntegrityError, match="no owner"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM accounts_membership WHERE company_id = %s", [acme.company_id])


def test_key_is_not_made_while_its_maker_leaves() -> None:
    acme = factories.acme()
    user = joined(acme, "admin")

    def leave() -> object:
        return companies.remove_member(company_id=acme.company_id, user_id=user.id, now=NOW)

    races.at_once(leave, *[lambda: issue(acme, user, "admin")] * 3)
    assert not APIKey.objects.live(NOW).filter(created_by=user).exists()


def test_key_that_is_rotated_while_its_maker_leaves_has_no_live_successor() -> None:
    acme = factories.acme()
    user = joined(acme, "admin")
    key = issue(acme, user, "admin")
    left = races.behind(
        lambda: keys.rotate(company_id=acme.company_id, key_id=key.id, now=NOW),
        lambda: companies.remove_member(company_id=acme.company_id, user_id=user.id, now=NOW),
    )
    assert left is None
    assert APIKey.objects.filter(created_by=user).count() == 2
    assert not APIKey.objects.live(NOW).filter(created_by=user).exists()


def test_key_that_is_rotated_while_its_maker_steps_down_has_no_higher_successor() -> None:
    acme = factories.acme()
    user = joined(acme, "admin")
    key = issue(acme, user, "admin")
    races.behind(
        lambda: keys.rotate(company_id=acme.company_id, key_id=key.id, now=NOW),
        lambda: companies.change_role(company_id=acme.company_id, user_id=user.id, role="viewer"),
    )
    assert set(APIKey.objects.filter(created_by=user).values_list("role", flat=True)) == {"viewer"}


def test_each_change_of_a_company_or_a_member_leaves_one_entry() -> None:
    acme, user = factories.acme(), person()
    where = {"company_id": acme.company_id}
    companies.rename(**where, name="New name")
    companies.rename(**where, name="New name")
    companies.set_markup(**where, markup=Decimal("1.5"))
    companies.suspend(**where)
    companies.reactivate(**where)
    companies.add_member(**where, user_id=user.id, role="admin", now=NOW)
    issue(acme, user, "admin")
    companies.change_role(**where, user_id=user.id, role="viewer")
    companies.remove_member(**where, user_id=user.id, now=NOW)
    entries = AuditEntry.objects.filter(**where, target_kind__in=["company", "member"])
    told = [(entry.action, entry.before, entry.after) for entry in entries]
    founded = ("company.created", "member.added")
    assert {action for action, *_ in told} >= set(founded)
    wanted = [
        ("company.updated", {"name": acme.company.name}, {"name": "New name"}),
        ("company.updated", {"markup": None}, {"markup": "1.5"}),
        ("company.suspended", {"status": "active"}, {"status": "suspended"}),
        ("company.reactivated", {"status": "suspended"}, {"status": "active"}),
        ("member.added", None, {"role": "admin"}),
        (
            "member.role_changed",
            {"role": "admin", "keys_lowered": None},
            {"role": "viewer", "keys_lowered": 1},
        ),
        ("member.removed", {"role": "viewer"}, None),
    ]
    assert [one for one in wanted if told.count(one) != 1] == []
    assert len(told) == len(founded) + len(wanted)


def test_nobody_joins_what_is_not_there() -> None:
    acme, nobody = factories.acme(), uuid4()
    with pytest.raises(NotFound, match=f"User {nobody}"):
        companies.add_member(company_id=acme.company_id, user_id=nobody, role="viewer", now=NOW)
    with pytest.raises(NotFound, match=f"Company {nobody}"):
        companies.add_member(company_id=nobody, user_id=acme.owner.id, role="viewer", now=NOW)
    with pytest.raises(NotFound, match=f"User {nobody}"):
        companies.create(name="Nobody's", owner_id=nobody, now=NOW)
