"""Rows B of the threats: bodies that lie, swell, crawl or ask for more than they pay, on the proxy and the typed route.

tests/house/test_threats.py knows the rows.
"""

import contextlib
import json
import socket
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests import factories
from tests.e2e import charges, threats
from tests.e2e.conftest import NO_TLS, Platform, eventually, open_holds
from tests.e2e.memory import Memory
from tests.e2e.threats import BASE, BODY, CHAT, JSON, MODEL, post, require_nothing, wire

# That they may be late is tested elsewhere.
pytestmark = pytest.mark.usefixtures("prompt_records")

MEGABYTE = 1024 * 1024
TYPED = "/v1/llm/chat/completions"
BOTH = pytest.mark.parametrize("path", [CHAT, TYPED])
SHAPES = [
    "chat/completions",
    "completions",
    "responses",
    "messages",
    "embeddings",
    "rerank",
    "images",
    "videos",
]
FORM = f"{BASE}/audio/transcriptions"
IS_FORM = {"Content-Type": "multipart/form-data; boundary=b"}
MODEL_PART = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nopenai/whisper-1\r\n'
FILE_PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="../../x"\r\n\r\n'
# More than the 15 s after which a body or a head that does not come is given up.
CRAWL_S = 25


class Crawl:
    """A client that sends a byte a second from when it is made, until it is answered or cut off."""

    def __init__(self, platform: Platform, beginning: bytes, rest: bytes = b"") -> None:
        self.answer = b""
        self.is_over = False
        self._client = threats.dial(platform, timeout_s=1)
        self._client.sendall(beginning)
        self._thread = threading.Thread(target=self._send, args=(rest,), daemon=True)
        self._thread.start()

    def end(self) -> bytes:
        """Wait for the answer. AssertionError where the client was never answered nor cut off."""
        self._thread.join()
        assert self.is_over
        return self.answer

    def _send(self, rest: bytes) -> None:
        with self._client:
            for number in range(CRAWL_S):
                try:
                    while data := self._client.recv(65536):
                        self.answer += data
                except TimeoutError:
                    with contextlib.suppress(OSError):
                        self._client.sendall(rest[number : number + 1])
                    continue
                except ConnectionResetError:
                    pass
                self.is_over = True
                return


@pytest.fixture(scope="module", autouse=True)
def crawlers(platform: Platform) -> tuple[factories.Cast, dict[str, Crawl]]:
    """Clients that crawl from the first test of this file on, so that the last one need not wait for them."""
    member = factories.acme()
    form = MODEL_PART + FILE_PART + b"x" * 100
    kind = b"Content-Type: multipart/form-data; boundary=b\r\n"
    bodies = {"proxied": post(member.secret)[: -len(JSON) + 1]}
    bodies["typed"] = post(member.secret, TYPED)[: -len(JSON) + 1]
    bodies["form"] = post(member.secret, FORM, body=form, extra=kind)[:-50]
    head = post(member.secret)[:60]
    found = {name: Crawl(platform, beginning) for name, beginning in bodies.items()}
    found["head"] = Crawl(platform, head)
    found["head, a byte a second"] = Crawl(platform, head, b"X-A: " + b"b" * 200)
    return member, found


def zstd_bomb(megabytes: int) -> bytes:
    """A frame of blocks that say one byte 128 KB long each: a few bytes for each megabyte."""
    header = b"\x28\xb5\x2f\xfd" + b"\x00\x58"
    block = (128 * 1024 << 3) | (1 << 1)
    return (
        header
        + (block.to_bytes(3, "little") + b" ") * (megabytes * 8 - 1)
        + (block | 1).to_bytes(3, "little")
        + b" "
    )


def gzip_bomb(megabytes: int) -> bytes:
    """One compressed megabyte, repeated: each is complete in itself."""
    packing = zlib.compressobj(9, wbits=-15)
    piece = packing.compress(b" " * MEGABYTE) + packing.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + piece * megabytes + b"\x03\x00"


@pytest.mark.parametrize("path", [CHAT, TYPED, FORM])
def test_b01_bomb_is_415_and_stays_packed(
    path: str, clean: Platform, acme: factories.Cast, memory: Memory
) -> None:
    bombs = {"zstd": zstd_bomb(512), "gzip": gzip_bomb(2048)} | dict.fromkeys(
        ("br", "deflate", "gzip, gzip", "x"), b"x"
    )
    before = memory.forget()
    for encoding, bomb in bombs.items():
        assert len(bomb) < 3 * MEGABYTE
        headers = {"Content-Encoding": encoding, **(IS_FORM if path == FORM else {})}
        assert clean.post(acme.secret, bomb, path=path, headers=headers).status_code == 415
    assert memory.peak() - before < 50 * MEGABYTE
    require_nothing(clean, acme)


def test_b01_bombs_are_what_they_are_called() -> None:
    """The measure itself."""
    assert zlib.decompressobj(wbits=31).decompress(gzip_bomb(3), 4 * MEGABYTE) == b" " * 3 * MEGABYTE
    assert len(zstd_bomb(512)) < 17_000


@BOTH
def test_b02_body_over_the_cap_is_413(
    path: str, clean: Platform, acme: factories.Cast, memory: Memory
) -> None:
    over = b" " * (32 * MEGABYTE + 1)
    before = memory.forget()
    assert clean.post(acme.secret, over, path=path).status_code == 413
    assert memory.peak() - before < 2 * MEGABYTE  # Its length was announced.
    pieces = (over[start : start + MEGABYTE] for start in range(0, len(over), MEGABYTE))
    headers = {"Authorization": acme.authorization}
    answer = httpx.post(f"{clean.url}{path}", content=pieces, headers=headers, timeout=60, verify=NO_TLS)
    assert answer.status_code == 413
    require_nothing(clean, acme)


@BOTH
def test_b02_length_that_is_too_small_ends_the_request_there(
    path: str, clean: Platform, acme: factories.Cast
) -> None:
    request = post(acme.secret, path).replace(b"Content-Length: %d" % len(JSON), b"Content-Length: 10")
    status, answer = wire(clean, request)
    assert status == 400
    assert b" 200 " not in answer
    require_nothing(clean, acme)


HEAVY = {
    "depth": b"[" * 10_000 + b"]" * 10_000,
    "depth of objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "depth inside": b'{"model":"a/b","messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "1e6 keys": b"{" + b",".join(b'"k%d":1' % number for number in range(1_000_000)) + b"}",
    "1e6 keys inside": b'{"metadata":{'
    + b",".join(b'"k%d":1' % number for number in range(1_000_000))
    + b"}}",
    "1 MB key": b'{"' + b"k" * MEGABYTE + b'":1}',
    "long integer": b'{"max_tokens":' + b"9" * 100_000 + b"}",
    "long integer in text": b'{"max_tokens":' + b"9" * 100_000 + b',"model":"%s"}' % MODEL.encode(),
}


@BOTH
def test_b03_heavy_json_is_400_at_once(
    path: str, clean: Platform, acme: factories.Cast, memory: Memory
) -> None:
    for name, raw in HEAVY.items():
        costs_s = []
        for _ in range(2):
            began = memory.cpu_s()
            assert clean.post(acme.secret, raw, path=path).status_code == 400
            costs_s.append(memory.cpu_s() - began)
        assert min(costs_s) < 0.1, (name, costs_s)
    require_nothing(clean, acme)


TWICE = [
    b'{"model":"openai/gpt-oss-120b:free","model":"openai/o1-pro","messages":[{"role":"user","content":"x"}]}',
    b'{"model":"openai/gpt-oss-120b:free","mod\\u0065l":"openai/o1-pro","messages":[{"role":"user","content":"x"}]}',
    b'{"max_tokens":1,"model":"%s","messages":[{"role":"user","content":"x"}],"max_tokens":9000}' % MODEL.encode(),
    b'{"model":"%s","messages":[{"role":"user","content":"x"}],"messages":[]}' % MODEL.encode(),
]  # fmt: skip


@BOTH
def test_b04_field_that_stands_twice_is_400(path: str, clean: Platform, acme: factories.Cast) -> None:
    for raw in TWICE:
        answer = clean.post(acme.secret, raw, path=path)
        assert answer.status_code == 400
    require_nothing(clean, acme)


NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-0",
    "-1",
    "1.5",
    '"999"',
    "true",
    "9223372036854775808",
    "[]",
    "{}",
    "0",
]


@pytest.mark.parametrize(
    ("path", "field"), [
        (CHAT, "max_tokens"), (CHAT, "max_completion_tokens"), (CHAT, "n"), (TYPED, "max_tokens"),
        (f"{BASE}/responses", "max_output_tokens"), (f"{BASE}/messages", "max_tokens"),
        (f"{BASE}/completions", "max_tokens"), (f"{BASE}/images", "n"), (f"{BASE}/videos", "duration"),
    ],
)  # fmt: skip
def test_b05_number_that_is_none_is_400(path: str, field: str, clean: Platform, acme: factories.Cast) -> None:
    fields: dict[str, Any] = {"model": MODEL, "prompt": "Hi", "input": "Hi", "messages": BODY["messages"]}
    for number in NUMBERS:
        raw = json.dumps(fields)[:-1] + f',"{field}":{number}}}'
        assert clean.post(acme.secret, raw.encode(), path=path).status_code == 400, raw
    require_nothing(clean, acme)


@pytest.mark.parametrize("wish", [{}, {"max_tokens": None}, {"max_tokens": 9_999_999}])
def test_b06_ceiling_is_put_where_the_wallet_is_short(wish: dict[str, Any], clean: Platform) -> None:
    poor = factories.acme(credits=Decimal("0.002"))
    body = {name: value for name, value in BODY.items() if name != "max_tokens"}
    answer = clean.post(poor.secret, {**body, **wish}, path=CHAT)
    assert answer.status_code == 200
    sent = json.loads(clean.upstream.last_request()["body"])
    assert sent["max_tokens"] == int(answer.headers["x-naive-max-tokens"]) < 16_000
    assert Decimal(answer.headers["x-naive-credits-held"]) <= Decimal("0.002")


@BOTH
def test_b06_ceiling_beyond_all_models_is_400(path: str, clean: Platform, acme: factories.Cast) -> None:
    assert clean.post(acme.secret, {**BODY, "max_tokens": 999_999_999}, path=path).status_code == 400
    require_nothing(clean, acme)


DEAR: dict[str, dict[str, Any]] = {
    "n": {"n": 100},
    "fallback": {"models": ["openai/o1-pro"]},
    "online": {"model": f"{MODEL}:online"},
    "web": {"plugins": [{"id": "web"}]},
    "server tool": {"tools": [{"type": "openrouter:web_search"}]},
    "subagent": {"tools": [{"type": "openrouter:subagent"}]},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast"},
    "web_search_options": {"web_search_options": {}},
}


@BOTH
def test_b07_wish_that_costs_more_is_held_for_or_refused(
    path: str, clean: Platform, acme: factories.Cast
) -> None:
    plain = Decimal(clean.post(acme.secret, BODY, path=path).headers["x-naive-credits-held"])
    for name, wish in DEAR.items():
        dear = clean.post(acme.secret, {**BODY, **wish}, path=path)
        assert dear.status_code in (200, 400), dear.text
        if dear.status_code == 200:
            assert Decimal(dear.headers["x-naive-credits-held"]) > plain * Decimal("1.5"), name


def test_b07_tries_that_are_thrown_away_are_held_for(clean: Platform, acme: factories.Cast) -> None:
    body = {"model": MODEL, "prompt": "Hi", "max_tokens": 30}
    asked = [{**body, **more} for more in ({}, {"best_of": 10}, {"n": 10}, {"prompt": ["Hi"] * 10})]
    held = []
    for one in asked:
        answer = clean.post(acme.secret, one, path=f"{BASE}/completions")
        assert answer.status_code == 200, answer.text
        held.append(Decimal(answer.headers["x-naive-credits-held"]))
    assert min(held[1:]) > held[0] * 5


@pytest.mark.parametrize(
    "provider", [
        {"max_price": {"prompt": 1000, "completion": 1000}}, {"max_price": {"completion": -5}}, {"max_price": "x"},
        {"order": ["groq"], "max_price": {"completion": "NaN"}}, {"order": ["azure"], "allow_fallbacks": False},
    ],
)  # fmt: skip
def test_b08_price_limit_beside_a_lowering_is_ours(provider: dict[str, Any], clean: Platform) -> None:
    poor = factories.acme(credits=Decimal("0.002"))
    body = {**BODY, "max_tokens": 100_000, "provider": provider, "route": "fallback"}
    clean.post(poor.secret, body, path=CHAT)
    sent = json.loads(clean.upstream.last_request()["body"])
    assert sent["max_tokens"] < 100_000
    limits = sent["provider"]["max_price"]
    assert 0 < Decimal(str(limits["prompt"])) <= Decimal("0.15")
    assert 0 < Decimal(str(limits["completion"])) <= Decimal("0.6")


@BOTH
def test_b09_stream_is_a_switch(path: str, clean: Platform, acme: factories.Cast) -> None:
    for stream in ('"true"', "1", "0", '"false"', "[]", "{}", "1.0"):
        raw = JSON[:-1] + f',"stream":{stream}}}'.encode()
        assert clean.post(acme.secret, raw, path=path).status_code == 400, stream
    require_nothing(clean, acme)


@BOTH
def test_b09_usage_that_is_not_wished_for_is_charged(
    path: str, clean: Platform, acme: factories.Cast
) -> None:
    body = {**BODY, "stream": True, "stream_options": {"include_usage": False}, "usage": {"include": False}}
    assert clean.post(acme.secret, body, path=path).status_code == 200
    charges.require_each_charged(clean, acme, calls=1)


@pytest.mark.parametrize("shape", ["chat/completions", "responses", "messages", "completions"])
def test_b10_clients_identity_never_leaves(shape: str, clean: Platform, acme: factories.Cast) -> None:
    body = {**BODY, "input": "Hi", "prompt": "Hi", "user": "u", "session_id": "s", "prompt_cache_key": "k"}
    body |= {"trace": {"trace_id": "victim", "x": 1}, "safety_identifier": "i"}
    if shape in ("responses", "completions"):
        del body["messages"]
    sent, calls = [], []
    for member in (acme, factories.globex()):
        answer = clean.post(member.secret, body, path=f"{BASE}/{shape}")
        assert answer.status_code == 200, answer.text
        calls.append(answer.headers["x-naive-generation-id"])
        sent.append(json.loads(clean.upstream.last_request()["body"]))
    for name in ("user", "session_id", "prompt_cache_key", "safety_identifier"):
        assert len({body[name], sent[0][name], sent[1][name]}) == 3
    assert [found["trace"]["trace_id"].replace("-", "") for found in sent] == [
        call.removeprefix("gen_").replace("-", "") for call in calls
    ]


@BOTH
def test_b11_address_in_a_request_is_never_fetched_by_us(
    path: str, clean: Platform, acme: factories.Cast
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        urls = [
            f"http://127.0.0.1:{port}/x.png",
            "http://169.254.169.254/latest/meta-data/",
            "file:///etc/passwd",
        ]
        urls += [f"gopher://127.0.0.1:{port}/_x", f"http://localhost:{port}/", f"//127.0.0.1:{port}/x"]
        for url in urls:
            part = {"type": "image_url", "image_url": {"url": url}}
            answer = clean.post(
                acme.secret, {**BODY, "messages": [{"role": "user", "content": [part]}]}, path=path
            )
            assert answer.status_code in (200, 400), url
            assert "root:" not in answer.text
        listener.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listener.accept()


@BOTH
def test_b12_pictures_are_capped_and_held_for(path: str, clean: Platform, acme: factories.Cast) -> None:
    def asked(*urls: str) -> dict[str, Any]:
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return {**BODY, "messages": [{"role": "user", "content": parts}]}

    assert (
        clean.post(acme.secret, asked("data:image/png;base64," + "A" * 50_000_000), path=path).status_code
        == 413
    )
    poor = factories.acme(credits=Decimal("0.01"))  # Less than a whole context of pictures.
    many = asked(*(["data:image/png;base64,AA"] * 9_000))
    refused = clean.post(poor.secret, many, path=path)
    assert refused.status_code == 402, refused.text
    assert open_holds(poor.company.id) == 0
    require_nothing(clean, acme)


NO_TEXT = [
    b"\xef\xbb\xbf" + JSON, JSON.replace(b"Hi", b"\\ud800"), JSON.replace(b"Hi", b"\xed\xa0\x80"),
    JSON.replace(b"Hi", b"\xff"), JSON.replace(b"Hi", b"\x00"), JSON.decode().encode("utf-16"),
    b"\xff\xfe", b"", b"null", b'"text"', b"[]", JSON + b"{}", JSON[:-1],
]  # fmt: skip


@BOTH
def test_b13_text_that_is_none_is_400(path: str, clean: Platform, acme: factories.Cast) -> None:
    for raw in NO_TEXT:
        assert clean.post(acme.secret, raw, path=path).status_code == 400
    require_nothing(clean, acme)


@BOTH
def test_b13_nul_in_a_text_passes_or_is_400_and_breaks_nothing(
    path: str, clean: Platform, acme: factories.Cast
) -> None:
    raw = JSON.replace(b"Hi", b"a\\u0000b").replace(b'"max_tokens"', b'"user":"a\\u0000b","max_tokens"')
    answer = clean.post(acme.secret, raw, path=path)
    assert answer.status_code in (200, 400)
    charges.require_each_charged(clean, acme, calls=int(answer.status_code == 200))


NO_REQUEST = [
    b'{"a":1,"a":2}', b"[" * 10_000, b'{"model":"x","max_tokens":NaN}', b"\xef\xbb\xbf{}", b"", b"null",
    b"\xff\xfe", b'{"x":"\\ud800"}',
    b'{"model":"","prompt":"x","input":"x"}', b'{"model":7,"prompt":"x","input":"x"}',
    b'{"model":"no/such","prompt":"x","input":"x","query":"x","documents":["x"],"messages":[{"role":"user"}]}',
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_refuses_what_is_no_request(shape: str, clean: Platform, acme: factories.Cast) -> None:
    for raw in NO_REQUEST:
        assert clean.post(acme.secret, raw, path=f"{BASE}/{shape}").status_code == 400
    require_nothing(clean, acme)


BAD_FIELDS: list[dict[str, Any]] = [
    {"model": "no/such"}, {"model": ""}, {"model": None}, {"models": "a"}, {"messages": []}, {"messages": "hi"},
    {"trace": []}, {"provider": 1}, {"user": {"a": 1}}, {"tools": {}}, {"n": 1000}, {"plugins": "web"},
]  # fmt: skip


@BOTH
def test_field_that_decides_about_money_is_checked(path: str, clean: Platform, acme: factories.Cast) -> None:
    for changes in BAD_FIELDS:
        assert clean.post(acme.secret, {**BODY, **changes}, path=path).status_code == 400
    require_nothing(clean, acme)


def test_b14_form_of_many_parts_is_400_and_writes_nothing(
    clean: Platform, acme: factories.Cast, memory: Memory
) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n'
    before, began = memory.forget(), memory.cpu_s()
    many = MODEL_PART + part * 100_000 + FILE_PART + b"x\r\n--b--\r\n"
    assert clean.post(acme.secret, many, path=FORM, headers=IS_FORM).status_code in (400, 413)
    assert memory.cpu_s() - began < 1
    assert memory.peak() - before < 10 * MEGABYTE
    for path in (CHAT, TYPED, f"{BASE}/images"):
        assert clean.post(acme.secret, many[:500], path=path, headers=IS_FORM).status_code in (400, 415)
    eventually(lambda: open_holds(acme.company.id) == 0, what="nothing is held")
    assert factories.balance_nanocredits(acme) == factories.GRANT_NANOCREDITS
    assert Decimal(clean.upstream.ledger()["total_usd"]) == 0


@pytest.mark.parametrize("count", [400])
def test_b16_idle_connections_keep_nobody_out(
    count: int, clean: Platform, acme: factories.Cast, memory: Memory
) -> None:
    before = memory.forget()
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(threats.dial(clean)) for _ in range(count)]
        for client in idle[::2]:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert all(client.recv(15) == b"HTTP/1.1 200 OK" for client in idle[::2])
        assert clean.post(acme.secret, BODY, path=CHAT).status_code == 200
        assert (memory.peak() - before) / count < 64 * 1024
    charges.require_each_charged(clean, acme, calls=1)


def test_b17_streams_that_nobody_reads_are_bounded_and_cost_others_nothing(
    clean: Platform, acme: factories.Cast, memory: Memory
) -> None:
    body = {**BODY, "model": f"{MODEL}:sim=hang_after=1", "stream": True}
    request = post(acme.secret, body=json.dumps(body).encode())
    before = memory.forget()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(threats.dial(clean)) for _ in range(105)]
        for client in clients:
            client.sendall(request)
        firsts = [client.recv(12) for client in clients]
        assert sorted(firsts) == [b"HTTP/1.1 200"] * 100 + [b"HTTP/1.1 429"] * 5
        globex = factories.globex()
        assert clean.post(globex.secret, BODY, path=CHAT).status_code == 200
        assert clean.post(globex.secret, {**BODY, "stream": True}, path=TYPED).status_code == 200
        assert (memory.peak() - before) / 105 < 512 * 1024
    eventually(lambda: open_holds(acme.company.id) == 0, timeout_s=60, what="every call is settled")
    assert factories.balance_nanocredits(acme) < factories.GRANT_NANOCREDITS


def test_b18_calls_at_once_never_take_more_than_there_is(clean: Platform) -> None:
    body = {"model": "openai/text-embedding-3-small:sim=delay_headers_ms=300", "input": "x " * 3000}
    path = f"{BASE}/embeddings"
    held = Decimal(clean.post(factories.acme().secret, body, path=path).headers["x-naive-credits-held"])
    clean.upstream.reset()
    poor = factories.acme(credits=held * 10)
    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(lambda _: clean.post(poor.secret, body, path=path).status_code, range(40)))
    assert set(found) == {200, 402}
    assert found.count(200) == clean.upstream.accepted()
    eventually(lambda: open_holds(poor.company.id) == 0, what="every call is settled")
    assert factories.balance_nanocredits(poor) >= 0


@pytest.mark.parametrize("provider", ["cancellable=1", "cancellable=0"])
def test_b19_stream_that_is_left_at_once_is_charged_each_time(
    provider: str, clean: Platform, acme: factories.Cast
) -> None:
    body = {**BODY, "model": f"{MODEL}:sim=chunk_delay_ms=20,{provider}", "stream": True}
    for _ in range(4):
        with threats.dial(clean) as client:
            client.sendall(post(acme.secret, body=json.dumps(body).encode()))
            came = b""
            while b'"content":"' not in came:
                came += client.recv(65536)
    charges.require_each_charged(clean, acme, calls=4)


def test_b15_body_or_head_that_does_not_come_is_given_up(
    crawlers: tuple[factories.Cast, dict[str, Crawl]],
) -> None:
    member, crawling = crawlers
    answers = {name: crawl.end() for name, crawl in crawling.items()}
    for name in ("proxied", "typed", "form"):
        assert b" 400 " in answers[name].partition(b"\r\n")[0], name
        assert b"did not arrive" in answers[name]
    assert b" 200 " not in b"".join(answers.values())
    eventually(lambda: open_holds(member.company.id) == 0, what="nothing is held")
    assert factories.balance_nanocredits(member) == factories.GRANT_NANOCREDITS
