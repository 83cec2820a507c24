"""Rows P and H of the threats to the proxy, over real sockets: what is refused reaches no upstream and holds nothing.

tests/house/test_threats.py knows the rows: a key of CLOSED, or the name of a test, for each.
"""

import httpx
import pytest

from tests import factories
from tests.e2e import threats
from tests.e2e.conftest import KEY, NO_TLS, Platform, eventually
from tests.e2e.memory import Memory
from tests.e2e.threats import BASE, BODY, CHAT, MOUNTS, post, require_nothing, wire
from tests.llm.test_proxy_paths import CLOSED as MORE

HEAD_BYTES_MAX = 60_000
# Behind either base URL. They are sent as they stand: what is not ASCII goes as UTF-8.
CLOSED = {
    "P1": ["../keys"],
    "P2": ["chat/../../v1/keys"],
    "P3": ["%2e%2e/keys"],
    "P4": [".%2e/keys"],
    "P5": ["chat%2F..%2Fkeys"],
    "P6": ["chat/%2e%2e/keys"],
    "P7": ["%252e%252e/keys"],
    "P8": ["..%5ckeys", "..\\keys"],
    "P9": ["./keys", "chat/./../keys"],
    "P10": ["/keys"],
    "P11": ["//evil.test/x"],
    "P12": ["https://evil.test/x"],
    "P13": ["https:%2F%2Fevil.test/x"],
    "P14": ["@evil.test/x"],
    "P15": ["chat/completions;x=/../keys"],
    "P16": ["chat/completions%00"],
    "P17": ["chat/completions%0d%0aX-A:b"],
    "P18": ["keys%3Fx=1"],
    "P19": ["chat/completions%23/../keys"],
    "P20": ["KEYS", "Keys", "keys/", "keys.json"],
    "P21": ["auth/keys", "analytics/query", "credits/coinbase", "activity/", "key/"],
    "P23": ["generation/content?id=gen-1"],
    "P24": ["observability/destinations"],
    "P25": ["files", "files/file-1/content", "videos/vid-1-of-another/x"],
    "P27": ["\uff0e\uff0e/keys", "%c0%ae%c0%ae/keys", "%ef%bc%8e%ef%bc%8e/keys"],
}


@pytest.mark.parametrize("row", CLOSED)
def test_path_outside_the_table_is_404(row: str, clean: Platform, acme: factories.Cast) -> None:
    allowed = (400, 404) if row == "P27" else (404,)
    for path in CLOSED[row]:
        for mount in MOUNTS:
            for method in ("GET", "POST", "DELETE"):
                status, answer = wire(clean, post(acme.secret, mount + path, method=method))
                assert status in allowed, (mount + path, method, answer)
                if status == 404:
                    assert b"path_not_proxied" in answer
    require_nothing(clean, acme)


def test_whatever_else_a_parser_may_make_of_a_path_is_closed(clean: Platform, acme: factories.Cast) -> None:
    for path in MORE:
        target = f"{BASE}/{path}".encode()
        is_line = not any(byte <= 0x20 or byte == 0x7F for byte in target) and len(target) < HEAD_BYTES_MAX
        if is_line and path != "api/v1/models":
            assert wire(clean, post(acme.secret, target))[0] in (400, 404), path
    for target in (f"{CHAT}\x00".encode(), f"{BASE}/a b".encode(), f"{CHAT}#x".encode()):
        assert wire(clean, post(acme.secret, target))[0] in (400, 404)
    require_nothing(clean, acme)


def test_p21_account_that_is_told_of_is_the_companys(clean: Platform, acme: factories.Cast) -> None:
    for path in ("credits", "key", "auth/key", "activity"):
        answer = clean.get(acme.secret, f"{BASE}/{path}")
        assert answer.status_code == 200
        assert KEY not in answer.text
        assert "user_2" not in answer.text
    asked = httpx.get(f"{clean.upstream.url}/__sim/requests", verify=NO_TLS).json()["last"]
    assert not [visit for visit in asked if visit["path"].endswith(("/credits", "/activity"))]
    require_nothing(clean, acme)


def test_p22_generation_of_another_is_as_if_there_were_none(clean: Platform, acme: factories.Cast) -> None:
    theirs = clean.post(acme.secret, BODY, path=CHAT).headers["x-generation-id"]
    assert clean.get(acme.secret, f"{BASE}/generation?id={theirs}").status_code == 200
    clean.upstream.reset()
    globex = factories.globex()
    unknown = theirs[:-4] + "zzzz"
    told = [clean.get(globex.secret, f"{BASE}/generation?id={name}") for name in (theirs, unknown)]
    assert [answer.status_code for answer in told] == [404, 404]
    said = [answer.text.replace(name, "…") for answer, name in zip(told, (theirs, unknown), strict=True)]
    for answer, text in zip(told, said, strict=True):
        assert text.replace(answer.headers["x-request-id"], "req") == said[0].replace(
            told[0].headers["x-request-id"], "req"
        )
    require_nothing(clean, globex)
    asked = httpx.get(f"{clean.upstream.url}/__sim/requests", verify=NO_TLS).json()["last"]
    assert not {theirs, unknown} & {visit["query"].get("id") for visit in asked}


def test_p25_film_of_another_is_as_if_there_were_none(clean: Platform, acme: factories.Cast) -> None:
    film = {"model": "google/veo-3.1", "prompt": "The tide", "duration": 4}
    job = clean.post(acme.secret, film, path=f"{BASE}/videos").json()["id"]
    clean.upstream.reset()
    globex = factories.globex()
    for name in (job, "vid-1-nothing"):
        for path in (f"{BASE}/videos/{name}", f"{BASE}/videos/{name}/content?index=0"):
            answer = clean.get(globex.secret, path)
            assert answer.status_code == 404
            assert answer.json()["error"]["message"] == "There is no such job."
    # The owner's own job is looked up in the background meanwhile.
    assert threats.strangers(clean) <= {f"GET /api/v1/videos/{job}"}
    assert clean.upstream.accepted() == 0
    assert factories.balance_nanocredits(globex) == factories.GRANT_NANOCREDITS
    eventually(
        lambda: clean.get(acme.secret, f"{BASE}/videos/{job}").json()["status"] == "completed",
        what="it is made",
    )


def test_p26_query_does_not_go_upstream(clean: Platform, acme: factories.Cast) -> None:
    assert clean.post(acme.secret, BODY, path=f"{CHAT}?key=sk&id=1&id=2").status_code == 200
    asked = httpx.get(f"{clean.upstream.url}/__sim/requests", verify=NO_TLS).json()["by_path"]
    assert asked["POST /api/v1/chat/completions"] == clean.upstream.accepted() == 1
    assert clean.get(acme.secret, f"{BASE}/models?q=a&q=b").status_code == 400


@pytest.mark.parametrize("host", [b"x", b"evil.test:80", b"evil.test.x"])
def test_p28_absolute_target_is_of_the_host_that_is_asked(
    host: bytes, clean: Platform, acme: factories.Cast
) -> None:
    status, answer = wire(clean, post(acme.secret, f"http://evil.test{CHAT}", host=host))
    assert status == 400, answer
    assert wire(clean, post(acme.secret, f"https://user@{host.decode()}{CHAT}", host=host))[0] == 400
    require_nothing(clean, acme)
    assert wire(clean, post(acme.secret, f"http://{host.decode()}{CHAT}", host=host))[0] == 200


@pytest.mark.parametrize(
    "tail", ["x" * 8192, "/".join(["a"] * 10_000), "models/" + "a" * 8000 + "/x/endpoints"]
)
def test_p29_long_path_costs_next_to_nothing(
    tail: str, clean: Platform, acme: factories.Cast, memory: Memory
) -> None:
    wire(clean, post(acme.secret, f"{BASE}/{tail}"))
    began = memory.cpu_s()
    for _ in range(20):
        assert wire(clean, post(acme.secret, f"{BASE}/{tail}"))[0] == 404
    assert (memory.cpu_s() - began) / 20 < 0.05
    require_nothing(clean, acme)


@pytest.mark.parametrize(
    "method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "HEAD", "GET", "CONNECT", "PROPFIND"]
)
def test_p30_other_method_is_405_and_names_the_right_one(
    method: str, clean: Platform, acme: factories.Cast
) -> None:
    status, answer = wire(clean, post(acme.secret, method=method, extra=b"X-HTTP-Method-Override: POST\r\n"))
    assert status == 405, answer
    assert b"allow: POST" in answer
    require_nothing(clean, acme)


def test_p30_override_overrides_nothing(clean: Platform, acme: factories.Cast) -> None:
    for name in ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"):
        assert clean.post(acme.secret, BODY, path=CHAT, headers={name: "DELETE"}).status_code == 200
        assert name.lower() not in sent_headers(clean)
        assert clean.upstream.last_request()["method"] == "POST"


@pytest.mark.parametrize(
    "host", [
        b"localhost:4000/#@evil", b"a b", b"", b"x\r\nHost: y", b"x\r\nHost: x", b"evil.test/../keys", b"@evil", None,
        b"x, y", b"x\x00", b"[::1",
    ],
)  # fmt: skip
def test_h01_bad_host_is_400(host: bytes | None, clean: Platform, acme: factories.Cast) -> None:
    assert wire(clean, post(acme.secret, host=host))[0] == 400
    require_nothing(clean, acme)


@pytest.mark.parametrize(
    "extra", [
        b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding : chunked\r\n",
        b"Content-Length: 5\r\n", b"Content-Length: +5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 5, 5\r\n",
        b"Transfer-Encoding: chunked, identity\r\n", b"Content-Length: 0x10\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_alone", [False, True])
def test_h02_request_of_two_lengths_is_400_and_the_second_never_runs(
    extra: bytes, is_alone: bool, clean: Platform, acme: factories.Cast
) -> None:
    request = post(acme.secret, extra=extra)
    if is_alone:
        request = request.replace(b"Content-Length: %d\r\n" % len(threats.JSON), b"", 1)
        if extra in (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"):
            return  # One good length, and a body that is not one: row B2.
    smuggled = post(acme.secret, f"{BASE}/models/count", method="GET")
    status, answer = wire(clean, request + smuggled)
    assert status == 400, answer
    assert answer.count(b"HTTP/1.1 ") == 1
    require_nothing(clean, acme)


@pytest.mark.parametrize(
    "extra", [
        b"X-A: b\r\n folded\r\n", b"X-A: b\n", b"X-A: b\x00c\r\n", b"X-A: b\x7fc\r\n", b"X-A: b\rc\r\n", b"X-A\r\n",
        b"X A: b\r\n", b": b\r\n", b"X-A: b\x01c\r\n",
    ],
)  # fmt: skip
def test_h03_header_that_parsers_read_differently_is_400(
    extra: bytes, clean: Platform, acme: factories.Cast
) -> None:
    status, answer = wire(clean, post(acme.secret, extra=extra))
    assert status == 400, answer
    require_nothing(clean, acme)


@pytest.mark.parametrize(
    "extra", [
        b"X-A: " + b"a" * 100_000 + b"\r\n", b"".join(b"X-%d: a\r\n" % number for number in range(2000)),
        b"X-A: a\r\n" * 20_000, b"Cookie: a=b\r\n" * 20_000,
    ],
    ids=["100 KB", "2,000 headers", "20,000 of one", "20,000 cookies"],
)  # fmt: skip
def test_h04_head_that_is_too_large_costs_next_to_nothing(
    extra: bytes, clean: Platform, acme: factories.Cast, memory: Memory
) -> None:
    """The house has one status for what it cannot read: 400, with words that say which."""
    wire(clean, post(acme.secret, extra=extra))
    before, began = memory.forget(), memory.cpu_s()
    for _ in range(10):
        status, answer = wire(clean, post(acme.secret, extra=extra))
        assert (status, b"headers" in answer) in ((400, True), (0, False))
    assert (memory.cpu_s() - began) / 10 < 0.05
    assert memory.peak() - before < 2 * 1024 * 1024
    require_nothing(clean, acme)


def sent_headers(platform: Platform) -> dict[str, str]:
    found = dict(platform.upstream.last_request()["headers"])
    return {name.lower(): value for name, value in found.items()}


# Row H5 to H11: none of it leaves, and the call is made as if it were not there.
IGNORED = {
    "H5": [{"Connection": "authorization, x-call-id, content-type"}],
    "H6": [{"TE": "trailers"}, {"Upgrade": "h2c"}, {"Proxy-Authorization": "Basic eDp5"}, {"Keep-Alive": "timeout=5"}],
    "H8": [
        {"X-Forwarded-For": "127.0.0.1"}, {"X-Real-IP": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"},
        {"X_Forwarded_For": "127.0.0.1"}, {"X-Forwarded-Host": "evil.test"}, {"X-Forwarded-Proto": "gopher"},
    ],
    "H9": [
        {"HTTP-Referer": "https://x.test"}, {"X-Title": "x"}, {"X-OpenRouter-Cache": "true"},
        {"X-OpenRouter-Cache-TTL": "60"}, {"X-OpenRouter-Cache-Clear": "true"}, {"X-OpenRouter-Title": "x"},
        {"X-OpenRouter-Categories": "x"}, {"X-OpenRouter-Metadata": "enabled"}, {"Cookie": "session=1"},
    ],
    "H11": [{"Range": "bytes=0-1"}, {"If-None-Match": "*"}, {"If-Modified-Since": "Mon, 23 Nov 2026 00:00:00 GMT"}],
}  # fmt: skip


@pytest.mark.parametrize("row", IGNORED)
def test_header_that_is_not_ours_to_pass_never_leaves(
    row: str, clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, BODY, path=CHAT)
    ordinary = sent_headers(clean)
    for headers in IGNORED[row]:
        answer = clean.post(acme.secret, BODY, path=CHAT, headers=headers)
        assert answer.status_code == 200, headers
        assert answer.json()["choices"]
        sent = sent_headers(clean)
        assert sent.keys() == ordinary.keys()
        assert {name: sent[name] for name in ordinary if name != "content-length"} == {
            name: value for name, value in ordinary.items() if name != "content-length"
        }
        assert sent["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "extra", [
        b"Authorization: Bearer sk-or-v1-abc\r\n", b"authorization: Bearer %s, Bearer sk-or-v1-abc\r\n",
        b"x-api-key: sk-or-v1-abc\r\n", b"x-api-key: sk-ant-1\r\nx-api-key: sk-ant-2\r\n",
    ],
)  # fmt: skip
def test_h07_two_keys_are_nobodys(extra: bytes, clean: Platform, acme: factories.Cast) -> None:
    for path in (CHAT, f"{BASE}/models", f"{BASE}/keys", f"{BASE}/credits"):
        assert (
            wire(clean, post(acme.secret, path, extra=extra.replace(b"%s", acme.secret.encode())))[0] == 401
        )
    require_nothing(clean, acme)


@pytest.mark.parametrize(
    "headers", [
        {"Authorization": "Bearer sk-or-v1-abc"}, {"x-api-key": "sk-ant-abc"}, {}, {"Authorization": "Basic abc"},
        {"Cookie": "session=abc"}, {"x-goog-api-key": "{key}"}, {"api-key": "{key}"}, {"Cookie": "api_key={key}"},
    ],
)  # fmt: skip
def test_h07_no_key_of_ours_is_401(headers: dict[str, str], clean: Platform, acme: factories.Cast) -> None:
    given = {name: value.format(key=acme.secret) for name, value in headers.items()}
    for path in (
        CHAT,
        f"{BASE}/models",
        f"{BASE}/keys",
        f"{BASE}/credits",
        f"{BASE}/models?api_key={acme.secret}",
    ):
        assert clean.post(None, BODY, path=path, headers=given).status_code == 401
    require_nothing(clean, acme)


def test_h07_key_in_the_body_is_not_looked_for_and_stays_a_word(
    clean: Platform, acme: factories.Cast
) -> None:
    body = {**BODY, "api_key": "sk-or-v1-abc", "authorization": "Bearer sk-or-v1-abc"}
    assert clean.post(None, body, path=CHAT).status_code == 401
    require_nothing(clean, acme)
    assert clean.post(acme.secret, body, path=CHAT).status_code == 200
    assert sent_headers(clean)["authorization"] == f"Bearer {KEY}"


def test_h09_session_and_beta_are_named_so_that_they_meet_no_others(clean: Platform) -> None:
    found = []
    for member in (factories.acme(), factories.globex()):
        headers = {"x-session-id": "mine", "x-anthropic-beta": "tools-1"}
        clean.post(member.secret, BODY, path=CHAT, headers=headers)
        found.append(sent_headers(clean))
    sessions = {headers["x-session-id"] for headers in found}
    assert len(sessions) == 2
    assert "mine" not in sessions
    assert [headers["x-anthropic-beta"] for headers in found] == ["tools-1"] * 2


@pytest.mark.parametrize(
    "header", [("accept", "x" * 2000), ("anthropic-version", "\u00e9"), ("x-session-id", "a" * 300)]
)
def test_h09_header_that_cannot_go_on_is_400(
    header: tuple[str, str], clean: Platform, acme: factories.Cast
) -> None:
    headers = {header[0]: header[1].encode("latin-1")}
    assert clean.post(acme.secret, BODY, path=CHAT, headers=headers).status_code == 400
    require_nothing(clean, acme)


@pytest.mark.parametrize("encoding", ["gzip;q=0, *", "gzip", "br", "identity;q=0"])
def test_h10_stream_is_asked_for_as_it_is(encoding: str, clean: Platform, acme: factories.Cast) -> None:
    headers = {"Accept-Encoding": encoding}
    answer = clean.post(acme.secret, {**BODY, "stream": True}, path=CHAT, headers=headers)
    assert sent_headers(clean)["accept-encoding"] == "identity"
    assert "content-encoding" not in answer.headers
    assert b"data: [DONE]" in answer.content


def test_h11_expectations_are_met_or_not_and_leave_no_odd_state(
    clean: Platform, acme: factories.Cast
) -> None:
    for number, extra in enumerate((b"Expect: 100-continue\r\n" * 2, b"Expect: tea\r\n"), start=1):
        status, answer = wire(clean, post(acme.secret, extra=extra))
        assert status in (100, 200, 417), answer
        assert answer.count(b"HTTP/1.1 200") + answer.count(b"HTTP/1.1 417") == 1
        assert "expect" not in sent_headers(clean)
        assert clean.upstream.accepted() == number


@pytest.mark.parametrize("value", [b"", b"a" * 256, b"a" * 300, b"a\xffb", b"a\tb"])
def test_h12_bad_idempotency_key_is_400(value: bytes, clean: Platform, acme: factories.Cast) -> None:
    status, answer = wire(clean, post(acme.secret, extra=b"Idempotency-Key: %s\r\n" % value))
    assert status == 400, answer
    assert wire(clean, post(acme.secret, extra=b"Idempotency-Key: a\x00b\r\n"))[0] == 400
    require_nothing(clean, acme)


def test_h12_key_of_another_is_a_new_one(clean: Platform, acme: factories.Cast) -> None:
    headers = {"Idempotency-Key": "the-same-for-both"}
    told = [
        clean.post(member.secret, BODY, path=CHAT, headers=headers) for member in (acme, factories.globex())
    ]
    assert [answer.status_code for answer in told] == [200, 200]
    assert len({answer.headers["x-generation-id"] for answer in told}) == 2
    assert "idempotency-replayed" not in told[1].headers
    again = clean.post(acme.secret, BODY, path=CHAT, headers=headers)
    assert again.headers["x-generation-id"] == told[0].headers["x-generation-id"]
    assert clean.upstream.accepted() == 2
