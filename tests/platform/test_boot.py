"""Without its secrets nothing serves and nothing works."""

import os
import subprocess
import sys

import pytest
from django.core import checks

from naive_platform import boot
from naive_platform import logins as platform_logins
from tests import logins
from tests.platform.conftest import ROOT

DOORS = {
    "gateway": ["-c", "import naive_platform.asgi"],
    "worker": ["-m", "celery", "-A", "naive_platform", "worker"],
}


@pytest.mark.parametrize("door", DOORS)
def test_missing_secret_stops_the_start_with_one_line(door: str) -> None:
    environ = {**os.environ, "DEBUG": "0", "SECRET_KEY": "set", "KEY_PEPPER": ""}
    command = [sys.executable, *DOORS[door]]
    ended = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode != 0
    assert "naive: set KEY_PEPPER, or DEBUG=1" in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("door", DOORS)
def test_nothing_that_kills_itself_starts_outside_of_tests(door: str) -> None:
    environ = {**os.environ, "DEBUG": "0", "SECRET_KEY": "set", "KEY_PEPPER": "set", "CRASH_AT": "A:0"}
    ended = subprocess.run(
        [sys.executable, *DOORS[door]], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert ended.returncode != 0
    assert "CRASH_AT" in ended.stderr


def test_no_process_sends_to_private_addresses_outside_of_development() -> None:
    given = {"DEBUG": "0", "SECRET_KEY": "set", "KEY_PEPPER": "set", "WEBHOOK_ALLOW_PRIVATE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", "from naive_platform import settings"],
        cwd=ROOT, env=os.environ | given, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert "WEBHOOK_ALLOW_PRIVATE" in ended.stderr


@pytest.mark.parametrize("module", ["asgi", "celery"])
def test_no_query_of_a_process_that_serves_or_works_waits_without_end(module: str) -> None:
    program = (
        f"import naive_platform.{module}, django; django.setup()\n"
        "from django.db import connection\n"
        "from accounts import database\n"
        "with connection.cursor() as cursor:\n"
        "    for name in ('lock_timeout', 'statement_timeout'):\n"
        "        cursor.execute(f'SHOW {name}'); print(cursor.fetchone()[0])\n"
        "print(database._session('naive')['options'].split()[-5:])\n"
    )
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "naive_platform.settings", "DEBUG": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout.splitlines()[:2] == ["5s", "1min"], ended.stderr
    assert "lock_timeout=2000" in ended.stdout.splitlines()[2]


def test_outside_debug_cookies_are_of_this_host_and_tls_alone() -> None:
    program = (
        "from naive_platform import settings as s\n"
        "print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE,"
        " s.SECURE_HSTS_SECONDS)"
    )
    environ = {**os.environ, "DEBUG": "0", "SECRET_KEY": "s" * 50, "KEY_PEPPER": "p" * 50}
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == ["__Host-session", "__Host-csrf", "True", "True", "31536000"]


def deploy_checks() -> list[str]:
    found = checks.run_checks(tags=["security"], include_deployment_checks=True)
    return [str(message.id) for message in found]


@pytest.mark.parametrize(
    ("url", "told"),
    [("", {"naive.W002"}), ("console:", {"naive.E001"}), ("submission://u:p@mail.example:587", set())],
)
def test_mail_that_reaches_nobody_is_told_of_in_true_words(url: str, told: set[str]) -> None:
    environ = {**os.environ, "DEBUG": "1", "EMAIL_URL": url}
    command = [sys.executable, "manage.py", "check", "--deploy", "--tag", "mail"]
    ended = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert {id for id in ("naive.W002", "naive.E001", "mail.E001") if id in ended.stderr} == told, (
        ended.stderr
    )
    assert ended.returncode == ("naive.E001" in told)
    if url == "":
        assert boot.NO_MAIL in ended.stderr


def test_login_that_may_write_the_books_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Tests are the owner."""
    assert "naive.W001" in deploy_checks()
    boot.warn_of_one_login()
    assert [record.message for record in caplog.records] == [boot.ONE_LOGIN]
    assert "\n" not in boot.ONE_LOGIN


def test_login_of_the_application_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with logins.as_application():
        assert "naive.W001" not in deploy_checks()
        boot.warn_of_one_login()
    assert caplog.records == []


def test_database_that_is_away_stops_no_start_for_want_of_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with platform_logins.using("postgresql://nobody@127.0.0.1:1/nowhere"):
        assert "naive.W001" not in deploy_checks()
        boot.warn_of_one_login()
    assert caplog.records == []
