"""What a whole platform tells of itself: limits in its answers, figures, log lines; and nothing that is secret."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from django.db import connection

from tests import factories
from tests.e2e.conftest import KEY, NO_TLS, Platform, eventually, redis_url

CHAT = "/v1/proxy/openrouter/chat/completions"
PROMPT = "canaryprompt7351"
HEADER = "canaryheader7351"
MODEL = "openai/gpt-5-mini"
LIMIT, REMAINING, RESET = (f"x-ratelimit-{what}-requests" for what in ("limit", "remaining", "reset"))


def body(*, faults: str = "", **more: Any) -> dict[str, Any]:
    model = f"{MODEL}:sim={faults}" if faults else MODEL
    return {"model": model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 30, **more}


def figures(platform: Platform) -> dict[str, float]:
    """Every sample, summed over gateways."""
    found: dict[str, float] = {}
    text = httpx.get(f"{platform.url}/metrics", verify=NO_TLS).text
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = found.get(name, 0) + float(value)
    return found


def lines(platform: Platform) -> list[dict[str, Any]]:
    """The log lines of the gateways."""
    texts = [path.read_text() for path in (platform.folder / "logs").glob("gateway*.log")]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def test_limit_of_requests_is_told_and_kept_on_answers_streams_and_errors(
    clean: Platform, acme: factories.Cast
) -> None:
    factories.set_llm(acme, {"defaults": {"requests_per_minute": 3}})
    answer = clean.post(acme.secret, body())
    assert (answer.headers[LIMIT], answer.headers[REMAINING], answer.headers[RESET]) == ("3", "2", "20s")
    stream = clean.post(acme.secret, body(stream=True))
    assert (stream.status_code, stream.headers[REMAINING]) == (200, "1")
    failed = clean.post(acme.secret, body(faults="status=500"))
    assert (failed.status_code // 100, failed.headers[REMAINING]) == (5, "0")
    accepted = clean.upstream.accepted()
    refused = clean.post(acme.secret, body())
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert refused.headers[REMAINING] == "0"
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    details = refused.json()["error"]["details"]
    assert (details["limit"], details["scope"]) == ("requests_per_minute", "tenant_user")
    assert details["scope_id"] == str(acme.tenant_user.id)
    # No kit gates the proxy, and upstream's own limits are the operator's business.
    proxied = clean.post(acme.secret, body(), path=CHAT)
    assert proxied.status_code == 200
    assert not [
        name
        for name in (*proxied.headers, *answer.headers)
        if "ratelimit" in name and name not in (LIMIT, REMAINING, RESET)
    ]
    assert LIMIT not in proxied.headers
    assert clean.upstream.accepted() == accepted + 1


def everything(clean: Platform, acme: factories.Cast) -> list[httpx.Response]:
    """Calls on every kind of route, that go well and that fail in every way."""
    initech, found = factories.initech(), []
    headers = {"x-canary": HEADER, "cookie": f"a={HEADER}", "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    for path in ("/v1/llm/chat/completions", CHAT):
        for faults in ("", "status=500", "status=429", "cut_bytes=40", "error_in_200"):
            for stream in (False, True):
                found.append(
                    clean.post(acme.secret, body(faults=faults, stream=stream), path=path, headers=headers)
                )
        found.append(
            clean.post(acme.secret, body(), path=path, headers={**headers, "Idempotency-Key": "again"})
        )
        found.append(clean.post(acme.secret, {**body(), "messages": PROMPT}, path=path, headers=headers))
        found.append(clean.post(acme.secret, f"{{{PROMPT}".encode(), path=path, headers=headers))
        found.append(clean.post(acme.secret, body(max_tokens=PROMPT), path=path, headers=headers))
        found.append(clean.post(initech.secret, body(), path=path, headers=headers))
        found.append(clean.post(acme.secret[:-1] + "x", body(), path=path, headers=headers))
    for path in (f"/v1/llm/{acme.secret}", f"/v1/{acme.secret}", f"/nothing/{acme.secret}?key={acme.secret}"):
        found.append(clean.get(acme.secret, path))
    found.append(clean.get(acme.secret, f"/v1/llm/generation?id={PROMPT}"))
    found.append(clean.post(acme.secret, body(), path="/v1/llm/estimate", headers=headers))
    return found


def database_rows(canary: str) -> list[str]:
    """The tables in which a text stands, as text or as bytes."""
    found = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(
                f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s OR t::text LIKE %s",  # noqa: S608
                [f"%{canary}%", f"%{canary.encode().hex()}%"],
            )
            if cursor.fetchone()[0]:
                found.append(table)
    return found


def valkey_names(canary: str) -> list[str]:
    with redis.from_url(redis_url()) as valkey:
        return [
            name.decode()
            for name in valkey.scan_iter()
            if canary.encode() in name
            or (valkey.type(name) == b"string" and canary.encode() in (valkey.get(name) or b""))
            or (valkey.type(name) == b"list" and canary.encode() in b"".join(valkey.lrange(name, 0, -1)))
        ]


@pytest.fixture(scope="module")
def canaries(platform: Platform) -> dict[str, str]:
    """What must stand nowhere, after calls with all of it."""
    acme = factories.acme()
    platform.upstream.reset()
    answers = everything(platform, acme)
    platform.upstream.faults()
    assert {answer.status_code for answer in answers} >= {200, 400, 401, 402, 404}
    assert any(answer.status_code >= 500 for answer in answers)
    for answer in answers:
        # The prompt may be in the answer: the model says what it likes. Ours and the operator's secrets may not.
        assert KEY not in answer.text + str(answer.headers)
    return {
        "prompt": PROMPT,
        "header": HEADER,
        "key": acme.secret,
        "secret part": acme.secret[11:43],
        "upstream": KEY,
    }


def test_no_place_is_lost_in_a_storm_of_faults(
    platform: Platform, canaries: dict[str, str], acme: factories.Cast
) -> None:
    """Here and in Valkey: what is not given back would in the end refuse everybody."""
    headers = {"Authorization": f"Bearer {acme.secret}"}
    for path in ("/v1/llm/chat/completions", CHAT):
        for faults in ("chunk_delay_ms=50", "hang_after=1", "cut_bytes=300"):
            said = body(faults=faults, stream=True)
            url = f"{platform.url}{path}"
            with httpx.stream("POST", url, headers=headers, json=said, verify=NO_TLS) as answer:
                assert answer.status_code == 200
                assert next(answer.iter_raw())

    def is_over() -> bool:
        with redis.from_url(redis_url()) as valkey:
            places = sum(int(valkey.zcard(name)) for name in valkey.scan_iter("calls:*"))
        answered = sum(line["message"] == "answered" for line in lines(platform))
        found = figures(platform)
        # Figures may be some seconds old: only those count that have seen all that was answered.
        calls = sum(count for name, count in found.items() if name.startswith("naive_calls_total"))
        running = sum(count for name, count in found.items() if name.startswith("naive_running_calls"))
        return (places, running, calls) == (0, 0, answered)

    eventually(is_over, what="every place is given back")


WHAT = ["prompt", "header", "key", "secret part", "upstream"]


@pytest.mark.parametrize("what", WHAT)
def test_canary_is_in_no_log(platform: Platform, canaries: dict[str, str], what: str) -> None:
    files = [path for path in platform.folder.rglob("*.log") if path.stat().st_size]
    assert any("gateway" in path.name for path in files)
    assert not [path.name for path in files if canaries[what] in path.read_text()]


@pytest.mark.parametrize("what", WHAT)
def test_canary_is_in_no_figure(platform: Platform, canaries: dict[str, str], what: str) -> None:
    assert canaries[what] not in "".join(figures(platform))


@pytest.mark.parametrize("what", WHAT)
def test_canary_is_in_no_row_of_the_database(canaries: dict[str, str], what: str) -> None:
    assert database_rows(canaries[what]) == []


@pytest.mark.parametrize("what", WHAT)
def test_canary_is_nowhere_in_valkey(canaries: dict[str, str], what: str) -> None:
    assert valkey_names(canaries[what]) == []


@pytest.mark.parametrize("what", WHAT)
def test_canary_is_in_no_spool(platform: Platform, canaries: dict[str, str], what: str) -> None:
    files = [path for path in Path(platform.folder).rglob("spool/**/*") if path.is_file()]
    assert not [path.name for path in files if canaries[what].encode() in path.read_bytes()]


def test_search_for_canaries_would_find_one(acme: factories.Cast) -> None:
    """A search that cannot find anything proves nothing."""
    assert "accounts_company" in database_rows(acme.company.name)


def test_traces_name_does_not_go_upstream(clean: Platform, acme: factories.Cast) -> None:
    trace = "ab" * 16
    for path in ("/v1/llm/chat/completions", CHAT):
        clean.post(acme.secret, body(), path=path, headers={"traceparent": f"00-{trace}-{'cd' * 8}-01"})
        assert trace not in json.dumps(clean.upstream.last_request())


def test_each_call_is_one_line_and_one_count(clean: Platform, acme: factories.Cast) -> None:
    answer = clean.post(acme.secret, body())

    def told() -> list[dict[str, Any]]:
        return [line for line in lines(clean) if line.get("request") == answer.headers["x-request-id"]]

    eventually(lambda: bool(told()), what="the line, which is written when all is sent")
    (line,) = told()
    assert (line["route"], line["status"], line["outcome"]) == ("llm/chat/completions", 200, "ok")
    assert (line["company"], line["key"]) == (str(acme.company_id), str(acme.key.id))
    assert line["generation"] == answer.headers["x-naive-generation-id"]
    assert line["latency_ms"] >= 0


def test_figures_of_a_running_platform(clean: Platform, acme: factories.Cast) -> None:
    clean.post(acme.secret, body())

    def count(name: str) -> float:
        return sum(value for found, value in figures(clean).items() if found.startswith(name))

    # They are read every 5 s at most.
    eventually(lambda: count("naive_calls_total") > 0, what="a call is counted")
    assert count("naive_limits_judged_total") > 0
    found = figures(clean)
    assert found["naive_broker_up"] == found["naive_books_up"] == 1
    assert found["naive_catalog_age_seconds"] < 3600
