"""Hostile JSON and queries on the management API: refused by name and at once, never read leniently."""

import time
from typing import Any

import pytest
from django.test import Client

from tests import factories

KITS, USERS, KEYS = "/v1/account-kits", "/v1/users", "/v1/auth/keys"


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


def post(member: factories.Cast, path: str, body: Any) -> Any:
    return Client(raise_request_exception=False).post(
        path, body, content_type="application/json", headers={"Authorization": member.authorization}
    )


def get(member: factories.Cast, path: str) -> Any:
    return Client(raise_request_exception=False).get(path, headers={"Authorization": member.authorization})


def refused(answer: Any) -> str:
    """The message of a 400."""
    found = answer.json()["error"]
    assert (answer.status_code, found["code"]) == (400, "invalid_input"), found
    return str(found["message"])


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (KITS, b'{"name": 1}', "name"),
        (KITS, b'{"name": true}', "name"),
        (KITS, b'{"name": null}', "name"),
        (KITS, b'{"name": ["a"]}', "name"),
        (KITS, b'{"name": "a", "is_default": "true"}', "is_default"),
        (KITS, b'{"name": "a", "is_default": 1}', "is_default"),
        (KITS, b'{"name": "a", "is_default": "on"}', "is_default"),
        (KEYS, b'{"name": "a", "requests_per_minute": "5"}', "requests_per_minute"),
        (KEYS, b'{"name": "a", "requests_per_minute": true}', "requests_per_minute"),
        (KEYS, b'{"name": "a", "requests_per_minute": 5.0}', "requests_per_minute"),
        (KEYS, b'{"name": "a", "requests_per_minute": 5e0}', "requests_per_minute"),
        (KEYS, b'{"name": "a", "cap_credits": "5", "cap_period": "day"}', "cap_credits"),
        (KEYS, b'{"name": "a", "cap_credits": true, "cap_period": "day"}', "cap_credits"),
        (KEYS, b'{"name": "a", "cap_credits": 1e400, "cap_period": "day"}', "cap_credits"),
        (KEYS, b'{"name": "a", "cap_credits": 0.0000000001, "cap_period": "day"}', "cap_credits"),
        (KEYS, b'{"name": "a", "role": "OWNER"}', "role"),
        (
            KEYS,
            b'{"name": "a", "account_kit_id": "{0197f3a2-0000-7000-8000-00000000b001}"}',
            "account_kit_id",
        ),
        (KEYS, b'{"name": "a", "expires_at": "2027-11-23"}', "expires_at"),
        (KEYS, b'{"name": "a", "expires_at": "2027-11-23T12:00:00"}', "expires_at"),
        (KEYS, b'{"name": "a", "expires_at": 1790000000}', "expires_at"),
        (KEYS, b'{"name": "a", "expires_at": "9999-12-31T23:59:59-23:00"}', "expires_at"),
        (USERS, b'{"email": "no address"}', "email"),
        (USERS, b'{"label": "a\\u0000b"}', "label"),
        (USERS, b'{"label": "a\\nb"}', "label"),
        (USERS, b'{"metadata": "{}"}', "metadata"),
        (USERS, b'{"metadata": []}', "metadata"),
        (USERS, b'{"compnay": 1}', "compnay"),
    ],
    ids=lambda value: value.decode()[:60] if isinstance(value, bytes) else "",
)
def test_nothing_is_taken_for_another_type(acme: factories.Cast, path: str, body: bytes, field: str) -> None:
    assert refused(post(acme, path, body)).startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"name": "a", "name": "b"}', "name: stands twice in the body."),
        (b'{"name": "a", "primitives_config": {"llm": {}, "llm": {"enabled": false}}}', "llm: stands twice"),
        (b'{"\\ud800": 1, "\\ud800": 2}', "?: stands twice in the body."),
        ('{"name": "a"}'.encode("utf-16"), "not JSON"),
        ('{"name": "a"}'.encode("utf-32"), "not JSON"),
        (b'\xef\xbb\xbf{"name": "a"}', "not JSON"),
        (b'{"name": NaN}', "not JSON"),
        (b'{"name": "a"} {}', "not JSON"),
        (b"{'name': 'a'}", "not JSON"),
        (b'{"name": "a",}', "not JSON"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_body_has_one_reading_or_none(acme: factories.Cast, body: bytes, said: str) -> None:
    assert said in refused(post(acme, KITS, body))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=1&limit=2", "limit: stands twice in the address."),
        ("limti=1", "limti: is not known here; known: limit, cursor"),
        ("limit=", "limit: "),
        ("limit=+1", "limit: "),
        ("limit=1.0", "limit: "),
        ("limit=%D9%A1", "limit: "),
        ("limit=0", "limit: "),
        ("limit=201", "limit: "),
        ("limit=" + "9" * 5000, "limit: "),
        ("cursor=x", "cursor: is not one of ours."),
        ("cursor=" + "x" * 101, "cursor: "),
        ("ordering=user__password", "ordering: is not known here"),
        ("search=%00", "search: "),
    ],
    ids=lambda value: value[:20],
)
def test_query_has_one_reading_or_none(acme: factories.Cast, query: str, said: str) -> None:
    assert said in refused(get(acme, f"{USERS}?{query}"))


@pytest.mark.parametrize("path", ["/v1/status", "/v1/billing/packs", "/v1/auth/me", f"{KITS}/default"])
def test_parameter_is_refused_also_where_none_is_known(acme: factories.Cast, path: str) -> None:
    assert refused(get(acme, f"{path}?debug=1")) == "debug: is not known here; known: none."


@pytest.mark.parametrize("method", ["options", "trace", "put"])
def test_method_that_is_not_there_is_told_with_those_that_are(acme: factories.Cast, method: str) -> None:
    answer = getattr(Client(raise_request_exception=False), method)(
        "/v1/status", headers={"Authorization": acme.authorization}
    )

    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")


def test_head_is_get_without_its_body(acme: factories.Cast) -> None:
    answer = Client().head("/v1/status", headers={"Authorization": acme.authorization})

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"name": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
        b'{"name": 1' + b"0" * 100_000 + b"}",
        b'{"name": 0.' + b"1" * 100_000 + b"}",
        b'{"name": 1e' + b"9" * 100_000 + b"}",
        b'{"' + b"k" * 1_000_000 + b'": 1}',
        b"{" + b",".join(b'"k%d":1' % number for number in range(150_000)) + b"}",
        b"{" + b",".join([b'"k":1'] * 300_000) + b"}",
        b'{"name": "' + b"\\ud83d\\ude00" * 100_000 + b'"}',
    ],
    ids=["lists", "objects", "digits", "decimals", "exponent", "long key", "many keys", "one key", "escapes"],
)
def test_body_made_to_be_slow_is_refused_in_less_work_than_it_took_to_send(
    acme: factories.Cast, body: bytes
) -> None:
    began_s = time.thread_time()
    answer = post(acme, KITS, body)
    took_s = time.thread_time() - began_s

    assert len(refused(answer)) < 500
    # This thread's own work, whatever else the machine does; a tenth of it is what is aimed at.
    assert took_s < 1
