"""A crowd of companies written in bulk stands up to the same checks as one that has called."""

from collections.abc import Iterator
from io import StringIO

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from psycopg import conninfo, sql
from pytest_django import Settings

from accounts import database, ids
from accounts.models import AccountKit, Company, TenantUser
from billing import verification
from naive_platform.demo_data import crowd
from tests import logins
from tests.billing import books

# DEBUG is off in tests.
SIZE = {"calls": 20_000, "companies": 25, "users": 300, "days": 8, "yes_really": True}


def seed(**given: object) -> str:
    said = StringIO()
    call_command("seed_demo", stdout=said, **{**SIZE, **given})
    return said.getvalue()


@pytest.fixture(scope="module", autouse=True)
def said(django_db_setup: None) -> Iterator[str]:
    """What the command said; it ran on a database of its own, as do the tests here."""
    kept = connection.settings_dict["NAME"]
    name = f"{kept}_crowd"
    remove = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(
        conninfo.make_conninfo(database.conninfo(), dbname="postgres"), autocommit=True
    ) as server:
        server.execute(remove)
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        connection.close()
        connection.settings_dict["NAME"] = name
        try:
            call_command("migrate", verbosity=0, interactive=False)
            yield seed()
        finally:
            connection.close()
            connection.settings_dict["NAME"] = kept
            server.execute(remove)


def test_verify_ledger_finds_nothing_wrong(said: str) -> None:
    report = verification.verify()
    assert report.violations == []
    assert report.open_holds == crowd.OPEN_MIN
    assert report.charged_nanocredits > 0
    assert "20,000 of 20,000 calls" in said


def test_there_is_as_much_as_was_asked_for() -> None:
    assert books.rows("SELECT count(*) FROM billing_settlement") == [(20_000,)]
    assert Company.objects.count() == 25
    assert TenantUser.objects.count() == 300
    assert AccountKit.objects.count() == 75


def test_first_company_is_hot_and_the_rest_a_tail() -> None:
    calls = [
        n for (n,) in books.rows("SELECT sum(calls + voided_calls) FROM billing_usage GROUP BY company_id")
    ]
    calls.sort(reverse=True)
    hot = Company.objects.order_by("slug")[0]
    ((its,),) = books.rows(
        "SELECT sum(calls + voided_calls) FROM billing_usage WHERE company_id = %s", hot.id
    )
    assert calls[0] == its
    assert 0.15 < its / 20_000 < 0.4
    assert calls[-1] < calls[0] / 10


def test_ids_and_rows_come_in_the_order_of_time() -> None:
    for hold_id, at in books.rows("SELECT hold_id, created_at FROM billing_hold LIMIT 500"):
        assert abs((ids.made_at(hold_id) - at).total_seconds()) < 0.01
    disorder = (
        "SELECT count(*) FROM (SELECT created_at, lag(created_at) OVER (PARTITION BY company_id ORDER BY seq) AS before"
        " FROM billing_entry) e WHERE before > created_at"
    )
    assert books.rows(disorder) == [(0,)]


def test_calls_have_ended_in_every_way() -> None:
    sources = dict(books.rows("SELECT source, count(*) FROM billing_settlement GROUP BY 1"))
    assert sources.keys() == {"inline", "stream", "generation", "estimate"}
    ((corrected, parked),) = books.rows(
        "SELECT (SELECT count(*) FROM billing_correction), (SELECT count(*) FROM billing_anomaly)"
    )
    assert corrected == sources["estimate"]
    assert parked == crowd.OPEN_MIN // 10


def test_crowd_is_not_made_twice_unless_forced() -> None:
    with pytest.raises(CommandError, match="25 seeded companies"):
        seed()
    seed(calls=300, companies=3, users=9, days=2, force=True)
    assert Company.objects.count() == 28
    assert verification.verify().violations == []


def test_beside_real_companies_it_takes_a_word() -> None:
    with pytest.raises(CommandError, match="--yes-really"):
        seed(force=True, yes_really=False)


def test_database_of_somebodys_own_takes_a_word_too(settings: Settings) -> None:
    settings.DEBUG = True
    initech = Company.objects.create(name="Initech", slug="initech", created_at=timezone.now())
    with pytest.raises(CommandError, match=r"no demo database: it has 1 companies .*'Initech'.*--yes-really"):
        seed(force=True, yes_really=False)
    initech.delete()
    with pytest.raises(CommandError, match="--force"):
        seed(yes_really=False)


@pytest.mark.parametrize("wrong", [{"calls": -1}, {"companies": -1}, {"users": -5}, {"days": 0}])
def test_sizes_that_are_none_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(CommandError, match="must be 1 or more"):
        seed(force=True, **wrong)


def test_application_is_told_to_bring_the_owner(settings: Settings) -> None:
    settings.DATABASE_OWNER_URL = ""
    with logins.as_application(), pytest.raises(CommandError, match="DATABASE_OWNER_URL"):
        seed(force=True)
