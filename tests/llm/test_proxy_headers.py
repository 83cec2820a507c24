"""What of a client's headers goes upstream, and what of upstream's comes back."""

import pytest

from accounts.errors import InvalidInput, Unauthorized
from llm.proxy import headers

ATTRIBUTION = {"HTTP-Referer": "https://naive.example", "X-OpenRouter-Title": "Naive"}
# Rows H5 to H12 of the threats: none of these ever leaves.
STAYS = {
    "authorization": "Bearer sk-or-v1-stolen", "x-api-key": "sk-ant-1", "proxy-authorization": "Basic eDp5",
    "cookie": "session=1", "set-cookie": "a=b", "host": "localhost:4000/#@evil",
    "connection": "authorization, x-call-id",
    "keep-alive": "timeout=5", "te": "trailers", "trailer": "x", "transfer-encoding": "chunked", "upgrade": "h2c",
    "content-length": "12", "content-type": "text/plain", "content-encoding": "gzip", "expect": "100-continue",
    "x-forwarded-for": "127.0.0.1", "x-forwarded-host": "evil.test", "x-forwarded-proto": "http",
    "x-real-ip": "127.0.0.1", "forwarded": "for=127.0.0.1", "x_forwarded_for": "127.0.0.1", "via": "1.1 x",
    "cf-connecting-ip": "127.0.0.1", "true-client-ip": "127.0.0.1",
    "http-referer": "https://other.example", "referer": "https://other.example", "x-title": "Other", "origin": "null",
    "x-openrouter-title": "Other", "x-openrouter-categories": "x", "x-openrouter-cache": "true",
    "x-openrouter-cache-ttl": "60", "x-openrouter-cache-clear": "true", "x-openrouter-metadata": "enabled",
    "x-openrouter-experimental-metadata": "enabled", "x-openrouter-fusion-depth": "0", "x-openrouter-signature": "x",
    "x-openrouter-anything-new": "1", "accept-encoding": "gzip;q=0, *", "accept-language": "de", "user-agent": "curl",
    "range": "bytes=0-1", "if-none-match": '"x"', "if-modified-since": "x", "idempotency-key": "k",
    "x-http-method-override": "DELETE", "x-method-override": "DELETE", "openai-organization": "org-1",
    "openai-project": "p", "openai-beta": "assistants=v2", "x-stainless-retry-count": "1", "x-stainless-lang": "python",
    "x-naive-user-id": "me", "x-request-id": "1", "traceparent": "00-1-1-01", "x-sim-faults": "status=500",
    "access-control-request-headers": "authorization", "priority": "u=1",
}  # fmt: skip


def opaque(session: str) -> str:
    return f"opaque-{len(session)}"


def sent(*given: tuple[str, str]) -> dict[str, str]:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in given]
    found = headers.outgoing(pairs, attribution=ATTRIBUTION, opaque_session=opaque)
    assert len(found) == len({name.lower() for name, _ in found})
    return {name.decode().lower(): value.decode("latin-1") for name, value in found}


OURS = {"accept": "*/*", "http-referer": "https://naive.example", "x-openrouter-title": "Naive"}


@pytest.mark.parametrize("name", STAYS)
def test_header_never_leaves(name: str) -> None:
    assert sent((name, STAYS[name])) == OURS


def test_all_of_them_together_never_leave() -> None:
    assert sent(*STAYS.items()) == OURS


def test_what_upstream_needs_to_read_the_request_passes() -> None:
    given = {
        "accept": "text/event-stream",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "interleaved-thinking-2025-05-14",
        "x-anthropic-beta": "fine-grained-tool-streaming-2025-05-14",
    }
    assert sent(*given.items()) == {**OURS, **given}


def test_lists_may_come_in_parts() -> None:
    assert sent(("anthropic-beta", "a"), ("anthropic-beta", "b"))["anthropic-beta"] == "a, b"


def test_session_is_named_so_that_it_meets_no_other_companys() -> None:
    assert sent(("x-session-id", "chat-7"))["x-session-id"] == "opaque-6"
    assert "x-session-id" not in sent(("x-session-id", ""))


def test_attribution_that_is_not_set_is_not_sent() -> None:
    found = headers.outgoing([], attribution={"HTTP-Referer": ""}, opaque_session=opaque)
    assert found == [(b"accept", b"*/*")]


@pytest.mark.parametrize(
    "given",
    [
        [("accept", "a"), ("accept", "b")],
        [("anthropic-version", "1"), ("anthropic-version", "2")],
        [("x-session-id", "a"), ("x-session-id", "b")],
        [("accept", "a\r\nx-api-key: b")],
        [("accept", "a\x00b")],
        [("accept", "a\x7fb")],
        [("accept", "caf\xe9")],
        [("accept", "a" * 1025)],
        [("anthropic-beta", "a" * 600), ("anthropic-beta", "b" * 600)],
        [("x-session-id", "a" * 257)],
    ],
)
def test_header_that_two_parsers_may_read_otherwise_is_refused(given: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidInput, match=given[0][0]) as caught:
        sent(*given)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], None),
        ([(b"authorization", b"Bearer k")], "Bearer k"),
        ([(b"x-api-key", b"k")], "Bearer k"),
        ([(b"x-api-key", b"k"), (b"authorization", b"Bearer k")], "Bearer k"),
        ([(b"cookie", b"authorization=Bearer k"), (b"x-goog-api-key", b"k"), (b"api-key", b"k")], None),
        ([(b"x-api-key", b"caf\xe9")], "Bearer caf\xe9"),
        ([(b"x-api-key", b"")], "Bearer "),
    ],
)
def test_key_is_where_a_client_puts_it(given: list[tuple[bytes, bytes]], expected: str | None) -> None:
    assert headers.authorization(given) == expected


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key"])
def test_two_keys_are_nobodys(name: bytes) -> None:
    with pytest.raises(Unauthorized, match="two keys"):
        headers.authorization([(b"authorization", b"Bearer k"), (name, b"Bearer sk-or-v1-x")])


# Row R2: of our account, of upstream's edge, or an order to the client's browser.
DROPPED = {
    "set-cookie": "__cf_bm=1", "server": "cloudflare", "cf-ray": "8f2c-FRA", "cf-cache-status": "HIT",
    "access-control-allow-origin": "*", "access-control-expose-headers": "X-Generation-Id",
    "x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1788220800000",
    "location": "https://evil.test", "alt-svc": 'h3=":443"', "x-openrouter-user": "user_1",
    "x-openrouter-organization": "org_1", "x-clerk-auth-reason": "x", "x-openrouter-cache-status": "HIT",
    "request-id": "r", "x-request-id": "r", "vary": "Accept-Encoding", "permissions-policy": "x",
    "referrer-policy": "x", "strict-transport-security": "x", "transfer-encoding": "chunked", "connection": "close",
    "content-length": "5", "www-authenticate": "Bearer", "link": "<x>", "refresh": "0; url=x",
    "content-disposition": "x",
    "report-to": "x", "nel": "x", "server-timing": "x", "x-should-retry": "true", "clear-site-data": "*",
    "retry-after": "5", "date": "x", "etag": "x", "age": "1",
}  # fmt: skip
GUARDS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}


@pytest.mark.parametrize("name", DROPPED)
def test_header_of_the_account_never_comes_back(name: str) -> None:
    found = headers.incoming({name: DROPPED[name], "content-type": "application/json"}, status=200)
    assert found == {"content-type": "application/json", **GUARDS}


def test_what_names_the_call_comes_back() -> None:
    given = {"x-generation-id": "gen-1-a", "x-provider-name": "OpenAI", "content-encoding": "gzip"}
    found = headers.incoming({**DROPPED, **given, "content-type": "application/json"}, status=200)
    assert found == {"content-type": "application/json", **given, **GUARDS}


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        ("7", "7"),
        ("9999", "3600"),
        ("99999", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("²", None),
    ],
)
def test_pause_of_an_error_is_bearable(retry_after: str, expected: str | None) -> None:
    assert headers.incoming({"retry-after": retry_after}, status=429).get("retry-after") == expected


def test_value_with_a_line_end_is_dropped() -> None:
    given = {
        "x-generation-id": "gen-1\r\nset-cookie: a=b",
        "x-provider-name": "caf\xe9",
        "content-encoding": "x y",
    }
    assert headers.incoming(given, status=200) == {"content-type": "application/octet-stream", **GUARDS}


def test_stream_is_not_to_be_buffered() -> None:
    found = headers.incoming({"content-type": "text/event-stream; charset=utf-8"}, status=200)
    assert found["content-type"] == "text/event-stream"
    assert (found["cache-control"], found["x-accel-buffering"]) == ("no-cache", "no")


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("application/problem+json", "application/json"),
        ("audio/mpeg", "audio/mpeg"),
        ("audio/pcm;rate=24000;channels=1", "audio/pcm; rate=24000;channels=1"),
        ('audio/pcm; x="</script>"', "audio/pcm"),
        ("video/mp4", "video/mp4"),
        ("text/html; charset=UTF-8", "text/plain; charset=utf-8"),
        ("text/javascript", "text/plain; charset=utf-8"),
        ("application/xhtml+xml", "text/plain; charset=utf-8"),
        ("image/svg+xml", "text/plain; charset=utf-8"),
        ("application/javascript", "application/octet-stream"),
        ("image/png", "application/octet-stream"),
        ("multipart/mixed", "application/octet-stream"),
        ("audio/mpeg, text/html", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_what_a_browser_would_run_is_called_something_else(given: str, safe: str) -> None:
    assert headers.safe_type(given) == safe
