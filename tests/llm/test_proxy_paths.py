"""What the proxy opens: the table is whole, and nothing that is written otherwise gets past it."""

import re
import time
from pathlib import Path

import pytest

from accounts.errors import InvalidInput, NotFound
from llm.proxy import paths
from llm.proxy.paths import Treatment
from llm.shapes import table

PUBLISHED = Path(__file__).with_name("openrouter_paths.txt")
# Paths that upstream serves and does not publish (docs/upstream.md 1).
UNPUBLISHED = [
    "POST completions",
    "GET auth/key",
    "POST api/beta/batches",
    "POST systemone",
    "GET tools/{name}",
]
# Names of path parameters say nothing.
NAME = re.compile(r"\{\w+\}")
MOUNTS = [b"/v1/proxy/openrouter/", b"/v1/proxy/openrouter/api/v1/"]

# Rows P1 to P25 and P27 to P29 of the threats, and what else a URL parser may make of a path.
CLOSED = [
    "../keys", "chat/../../v1/keys", "%2e%2e/keys", ".%2e/keys", "chat%2F..%2Fkeys", "chat/%2e%2e/keys",
    "%252e%252e/keys", "..%5ckeys", "..\\keys", "./keys", "chat/./../keys", "/keys", "//evil.test/x",
    "https://evil.test/x", "https:%2F%2Fevil.test/x", "@evil.test/x", "chat/completions;x=/../keys",
    "chat/completions%00", "chat/completions\x00", "chat/completions%0d%0aX-A:b", "chat/completions\r\nX-A:b",
    "keys%3Fx=1", "chat/completions%23/../keys", "chat/completions#/../keys", "KEYS", "Keys", "keys/", "keys.json",
    "keys", "auth/keys", "auth/keys/code", "analytics/query", "analytics/meta", "generation/content",
    "generation/feedback", "observability/destinations", "files", "files/f1/content", "byok", "guardrails",
    "workspaces", "workspaces/w/members", "organization/members", "credits/coinbase", "models/user", "presets/x",
    "scim/groups", "benchmarks", "datasets/app-rankings", "tools", "batches", "systemone", "oauth/token",
    "\uff0e\uff0e/keys", "%c0%ae%c0%ae/keys", "chat/completions/", "chat//completions", "Chat/completions",
    "chat/Completions", "chat/completion", "chat/completions ", " chat/completions", "chat/completions.json",
    "chat%2Fcompletions", "chat/completions%20", "models/openai", "models/openai/gpt-4o/endpoints/x",
    "models/OpenAI/gpt-4o/endpoints", "models/Openai/gpt-4o/endpoints", "models/.openai/gpt-4o/endpoints",
    "models/openai/-gpt/endpoints", "models/../keys/endpoints", "models/openai/../endpoints",
    "models/openai/%2e%2e/endpoints", "models/openai/a@b/endpoints", "models/openai/.hidden/endpoints",
    "model/openai/", "videos/", "videos/..", "videos/../content", "videos/a.b", "videos/a:b/content",
    "videos/a/content/", "videos/" + "a" * 200, "x" * 8192, "/".join(["a"] * 10_000), "", "api/v1/models",
    "api/v1/api/v1/models", "v1/models", "responses/resp_1", "responses/resp_1/cancel", "chat/completions/id",
    "images/generations", "audio/translations", "key/", "generation/", "_ping",
]  # fmt: skip


def raw(path: str, mount: bytes = MOUNTS[0]) -> bytes:
    return mount + path.encode()


def published() -> list[str]:
    lines = PUBLISHED.read_text().splitlines()
    return [line.replace(" /", " ") for line in lines if not line.startswith("#")]


def anonymous(name: str) -> str:
    return NAME.sub("{}", name)


@pytest.mark.parametrize("name", [*published(), *UNPUBLISHED])
def test_every_path_of_upstreams_is_classified(name: str) -> None:
    assert anonymous(name) in {anonymous(known) for known in paths.TABLE}


def test_published_list_is_whole() -> None:
    assert len(published()) == len(set(published())) == 97
    assert "POST chat/completions" in published()


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("path", CLOSED)
def test_path_outside_the_table_does_not_exist(path: str, mount: bytes) -> None:
    if path == "api/v1/models" and mount == MOUNTS[0]:
        path = "api/v1/api/v1/models"  # That one is the other mount.
    with pytest.raises(NotFound) as caught:
        paths.find(paths.suffix(raw(path, mount)))
    assert caught.value.details == {"reason": "path_not_proxied"}


@pytest.mark.parametrize(
    "name", [name for name, route in paths.TABLE.items() if route.treatment is Treatment.NEVER]
)
def test_never_is_as_if_it_did_not_exist(name: str) -> None:
    method, _, template = name.partition(" ")
    try:
        place = paths.find(NAME.sub("abc", template).encode())
    except NotFound:
        return
    # The same words may be a place for another method.
    assert method not in place.methods


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize(
    "name", [name for name, route in paths.TABLE.items() if route.treatment is not Treatment.NEVER]
)
def test_open_path_is_found_under_both_base_urls(name: str, mount: bytes) -> None:
    method, _, template = name.partition(" ")
    path = NAME.sub("abc-1.0" if "author" in template else "abc-1", template)
    place = paths.find(paths.suffix(raw(path, mount)))
    assert place.routes[method] is paths.TABLE[name]
    assert place.upstream_path == path


@pytest.mark.parametrize(
    "method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "OPTIONS", "HEAD", "get"]
)
def test_other_methods_have_no_route(method: str) -> None:
    place = paths.find(b"chat/completions")
    assert method not in place.routes
    assert place.methods == ("POST",)


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/proxy/openrouter", b"/v1/proxy/openrouterx/models", b"/v1/proxy/OpenRouter/models",
        b"/v1%2Fproxy/openrouter/models", b"/v1/proxy//openrouter/models", b"/v1/llm/models", b"",
        b"/x/v1/proxy/openrouter/models", b"http://evil.test/v1/proxy/openrouter/models",
    ],
)  # fmt: skip
def test_path_elsewhere_has_no_suffix(path: bytes) -> None:
    assert paths.suffix(path) is None
    with pytest.raises(NotFound):
        paths.find(paths.suffix(path))


@pytest.mark.parametrize(
    ("path", "upstream_path", "names"),
    [
        (
            "models/openai/gpt-oss-20b:free/endpoints",
            "models/openai/gpt-oss-20b%3Afree/endpoints",
            {"author": "openai", "slug": "gpt-oss-20b:free"},
        ),
        ("model/~openai/gpt-latest", "model/~openai/gpt-latest", {"author": "~openai", "slug": "gpt-latest"}),
        ("videos/vid-17-AbC_9", "videos/vid-17-AbC_9", {"job": "vid-17-AbC_9"}),
        ("videos/vid-1/content", "videos/vid-1/content", {"job": "vid-1"}),
        ("videos/models", "videos/models", {}),
        ("models/count", "models/count", {}),
    ],
)
def test_names_are_checked_and_written_anew(path: str, upstream_path: str, names: dict[str, str]) -> None:
    place = paths.find(path.encode())
    assert (place.upstream_path, place.names) == (upstream_path, names)


def test_long_path_is_refused_at_once() -> None:
    begun = time.perf_counter()
    for found in (b"a" * 8192, b"/".join([b"a"] * 10_000), b"models/" + b"a" * 8000 + b"/x/endpoints"):
        with pytest.raises(NotFound):
            paths.find(found)
    assert time.perf_counter() - begun < 0.05


def test_metered_routes_have_a_shape_and_each_shape_its_route() -> None:
    metered = [route for route in paths.TABLE.values() if route.treatment is Treatment.METERED]
    posts = {route.shape: route.template for route in metered if route.method == "POST"}
    assert posts == {name: shape.path for name, shape in table.SHAPES.items()}
    assert {route.shape for route in metered if route.method == "GET"} == {"video", "video_content"}


def test_query_of_a_metered_call_is_dropped() -> None:
    assert paths.query(paths.TABLE["POST chat/completions"], b"key=sk-or-x&id=1&id=2") == ""


def test_query_keeps_what_the_route_knows() -> None:
    route = paths.TABLE["GET models"]
    assert paths.query(route, b"q=gpt%204&key=secret&sort=newest&x[]=1") == "q=gpt+4&sort=newest"
    assert paths.read_query(paths.TABLE["GET generation"], b"id=gen-1&x=2") == {"id": "gen-1"}


@pytest.mark.parametrize(
    "query",
    [b"q=a&q=b", b"q=%ff", b"q=\xff", b"q=" + b"a" * 5000, b"&".join([b"x=1"] * 100), b"limit=1&limit=1"],
)
def test_query_that_two_parsers_may_read_otherwise_is_refused(query: bytes) -> None:
    with pytest.raises(InvalidInput):
        paths.query(paths.TABLE["GET models"], query)


def test_line_end_in_a_query_is_written_so_that_it_ends_nothing() -> None:
    assert paths.query(paths.TABLE["GET models"], b"q=a%0d%0aX-A:%20b") == "q=a%0D%0AX-A%3A+b"
