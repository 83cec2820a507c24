"""Which login a command runs under, and what `migrate` leaves the application with."""

import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import override_settings

from naive_platform import boot, logins
from tests import logins as tests_logins
from tests.platform.conftest import ROOT

NOWHERE = "postgresql://app@127.0.0.1:1"


def user() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user::text")
        (name,) = cursor.fetchone()
    return str(name)


def value(query: str, *parameters: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]


def manage(*words: str, application: str = "", owner: str = "", code: int = 0) -> str:
    """What a command says that has the application's login, and the owner's where it is given."""
    environ = {
        **os.environ,
        "DATABASE_URL": application or tests_logins.application_url(),
        "DATABASE_OWNER_URL": owner,
        "DEBUG": "1",
    }
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_owner_is_whom_commands_are_for_their_while_and_no_longer() -> None:
    name = connection.settings_dict["NAME"]
    with tests_logins.as_application():
        assert user() == logins.application_role()
        with pytest.raises(KeyError) as raised, logins.as_owner():
            raise KeyError(user(), connection.settings_dict["NAME"])
        assert user() == logins.application_role()
    assert raised.value.args == (logins.owner_role(), name)


def test_without_an_owners_url_the_application_is_the_owner() -> None:
    with override_settings(DATABASE_URL="postgresql://both@127.0.0.1:1/naive", DATABASE_OWNER_URL=""):
        assert logins.application_role() == logins.owner_role() == "both"
        before = dict(connection.settings_dict)
        with logins.as_owner():
            assert connection.settings_dict == before


def test_url_without_a_user_means_whom_libpq_means() -> None:
    with override_settings(DATABASE_URL="postgresql://127.0.0.1:1/naive", DATABASE_OWNER_URL=""):
        code = "from psycopg import pq; print(*(o.val for o in pq.Conninfo.get_defaults() if o.keyword == b'user'))"
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert repr(logins.application_role().encode()) == told.strip()


def test_two_urls_of_two_databases_are_refused() -> None:
    with (
        override_settings(DATABASE_URL=f"{NOWHERE}/one", DATABASE_OWNER_URL=f"{NOWHERE}/two"),
        pytest.raises(
            ImproperlyConfigured, match="DATABASE_URL names the database 'one', DATABASE_OWNER_URL 'two'"
        ),
        logins.as_owner(),
    ):
        raise AssertionError


def test_migrate_says_what_is_wrong_with_a_login_in_one_line() -> None:
    with (
        override_settings(
            DATABASE_URL="postgresql://naive_tests_nobody@127.0.0.1:1/x", DATABASE_OWNER_URL=""
        ),
        pytest.raises(CommandError, match="The login 'naive_tests_nobody' of DATABASE_URL is not there"),
    ):
        call_command("migrate", verbosity=0)


def test_functions_that_are_made_anew_are_the_applications_to_call() -> None:
    with connection.cursor() as cursor:
        cursor.execute("COMMENT ON VIEW billing_violations IS 'of an earlier version'")
        cursor.execute("DROP FUNCTION billing_open_wallet")
    call_command("migrate", verbosity=0)
    called = "has_function_privilege(%s, 'billing_open_wallet(uuid)', 'EXECUTE')"
    assert value(f"SELECT {called}", logins.application_role()) is True
    assert value(f"SELECT {called}", "pg_monitor") is False


def test_migrate_is_the_owners_whatever_the_application_may() -> None:
    with connection.cursor() as cursor:
        cursor.execute("COMMENT ON VIEW billing_violations IS 'of an earlier version'")
    assert "must be owner" in manage("migrate", code=1)
    manage("migrate", owner=tests_logins.owner_url())
    assert "functions" in str(value("SELECT obj_description('billing_violations'::regclass)"))


def test_migrate_with_nothing_to_do_needs_no_owner() -> None:
    told = manage("migrate")
    assert "No migrations to apply" in told
    assert boot.ONE_LOGIN not in told


def test_migrate_says_so_where_one_login_is_both() -> None:
    assert boot.ONE_LOGIN in manage("migrate", application=tests_logins.owner_url())


def test_missing_migrations_are_found_under_the_applications_login() -> None:
    assert manage("makemigrations", "--check", "--dry-run") == "No changes detected\n"


def test_platforms_of_the_tests_have_two_logins() -> None:
    assert logins.application_role() != logins.owner_role() == user()
    assert settings.DATABASE_OWNER_URL
