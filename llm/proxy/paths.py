"""Which of upstream's paths the proxy opens, and to what: one table, and whatever is not in it does not exist."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qsl, quote, urlencode

from accounts.errors import InvalidInput, NotFound

MOUNT = b"/v1/proxy/openrouter/"
# Some clients put this behind any base URL they are given.
_REPEATED = b"api/v1/"
# The longest path that can be looked up: a model's endpoints, with room to spare.
SUFFIX_BYTES_MAX = 512
QUERY_BYTES_MAX = 4096
QUERY_FIELDS_MAX = 50
# Nothing else is ever part of a path of ours; %, \, ;, @ and all that is not ASCII are not in it.
_CHARACTERS = re.compile(rb"[A-Za-z0-9._~:/-]+")
_DOTS = frozenset({b"", b".", b".."})


class Treatment(Enum):
    """What becomes of a request."""

    METERED = "metered"  # Forwarded and charged; `shape` says how.
    FREE = "free"  # Forwarded as it is; costs nothing.
    OURS = "ours"  # Answered from our own records.
    NEVER = "never"  # As if it did not exist: the operator's account, and what we cannot meter.


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path. `template` is upstream's own spelling, `{names}` included.

    `shape` names how a metered route is read and charged; `parameters` are the query fields that go upstream.
    """

    method: str
    template: str
    treatment: Treatment
    shape: str = ""
    parameters: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Place:
    """A path that exists: what it leads to by method, and how it is written upstream."""

    routes: Mapping[str, Route]
    upstream_path: str
    names: Mapping[str, str]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods a client may use here, for `Allow`."""
        return tuple(sorted(self.routes))


_MODEL_FILTERS = frozenset({
    "category", "supported_parameters", "output_modalities", "input_modalities", "sort", "q", "context",
    "min_price", "max_price", "min_output_price", "max_output_price", "arch", "model_authors", "providers",
    "distillable", "zdr", "region", "min_age_days", "max_age_days", "min_intelligence_index",
    "max_intelligence_index", "min_coding_index", "max_coding_index", "min_agentic_index", "max_agentic_index",
    "min_tool_success_rate", "use_rss", "use_rss_chat_links", "offset", "limit",
})  # fmt: skip
_METERED = {
    "POST chat/completions": "chat",
    "POST completions": "completions",
    "POST responses": "responses",
    "POST messages": "messages",
    "POST embeddings": "embeddings",
    "POST rerank": "rerank",
    "POST images": "images",
    "POST audio/speech": "speech",
    "POST audio/transcriptions": "transcriptions",
    "POST videos": "videos",
    # Of own jobs only; the status settles its job's call.
    "GET videos/{job}": "video",
    "GET videos/{job}/content": "video_content",
}
_FREE = {
    "GET models": _MODEL_FILTERS,
    "GET models/count": _MODEL_FILTERS,
    "GET models/{author}/{slug}/endpoints": frozenset[str](),
    "GET model/{author}/{slug}": frozenset[str](),
    "GET embeddings/models": _MODEL_FILTERS,
    "GET images/models": frozenset[str](),
    "GET images/models/{author}/{slug}/endpoints": frozenset[str](),
    "GET videos/models": frozenset[str](),
    "GET providers": frozenset[str](),
    "GET endpoints/zdr": frozenset[str](),
}
_OURS = {
    "GET key": frozenset[str](),
    "GET auth/key": frozenset[str](),
    "GET credits": frozenset[str](),
    "GET generation": frozenset({"id"}),
    "GET activity": frozenset({"date", "api_key_hash", "user_id", "workspace_id", "group_by"}),
}
_QUERY_OF_METERED = {"GET videos/{job}/content": frozenset({"index"})}
# Known to upstream and closed here, by name, so that a new path of upstream's is noticed (tests/llm/proxy).
_NEVER = """
POST api/beta/batches, POST batches, GET batches, GET batches/{id}, POST batches/{id}/cancel, POST systemone,
POST api/alpha/decisions,
GET analytics/meta, POST analytics/query,
POST auth/keys, POST auth/keys/code, POST oauth/token, GET oauth/jwks, POST credits/coinbase,
GET benchmarks, GET classifications/task, GET tools, GET tools/{name},
GET byok, POST byok, DELETE byok/{id}, GET byok/{id}, PATCH byok/{id},
GET datasets/app-rankings, GET datasets/rankings-daily, GET datasets/session-cost,
GET files, POST files, DELETE files/{file_id}, GET files/{file_id}, GET files/{file_id}/content,
GET containers, POST containers, GET external-users, GET private-endpoints, GET vault,
GET generation/content, POST generation/feedback,
GET guardrails, POST guardrails, DELETE guardrails/{id}, GET guardrails/{id}, PATCH guardrails/{id},
GET guardrails/{id}/assignments/keys, POST guardrails/{id}/assignments/keys,
POST guardrails/{id}/assignments/keys/remove, GET guardrails/{id}/assignments/members,
POST guardrails/{id}/assignments/members, POST guardrails/{id}/assignments/members/remove,
GET guardrails/assignments/keys, GET guardrails/assignments/members,
GET keys, POST keys, DELETE keys/{hash}, GET keys/{hash}, PATCH keys/{hash},
GET models/user,
GET observability/destinations, POST observability/destinations, DELETE observability/destinations/{id},
GET observability/destinations/{id}, PATCH observability/destinations/{id},
GET organization/members,
GET presets, GET presets/{slug}, POST presets/{slug}/chat/completions, POST presets/{slug}/messages,
POST presets/{slug}/responses, GET presets/{slug}/versions, GET presets/{slug}/versions/{version},
GET scim/group-mappings, POST scim/group-mappings, DELETE scim/group-mappings/{id}, GET scim/group-mappings/{id},
PATCH scim/group-mappings/{id}, GET scim/groups,
GET workspaces, POST workspaces, DELETE workspaces/{id}, GET workspaces/{id}, PATCH workspaces/{id},
GET workspaces/{id}/budgets, DELETE workspaces/{id}/budgets/{interval}, GET workspaces/{id}/budgets/{interval},
PUT workspaces/{id}/budgets/{interval}, GET workspaces/{id}/members, POST workspaces/{id}/members/add,
POST workspaces/{id}/members/remove
"""
# What may stand in the place of a name. A job's id is upstream's own making and the only one with upper case.
_CONVERTERS = {
    "author": re.compile(r"~?[a-z0-9][a-z0-9._-]{0,63}"),
    "slug": re.compile(r"[a-z0-9][a-z0-9._:-]{0,127}"),
    "job": re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}"),
}


def suffix(raw_path: bytes) -> bytes | None:
    """Return what follows the proxy's base URL, exactly as the client wrote it; None for a path that is elsewhere.

    Shape: `raw_path` is the request line's, never decoded; either base URL, with or without `api/v1`.
    """
    if not raw_path.startswith(MOUNT):
        return None
    found = raw_path.removeprefix(MOUNT)
    return found.removeprefix(_REPEATED)


def find(found: bytes | None) -> Place:
    """Return the place of a raw suffix.

    Shape: matched byte by byte, never decoded, normalised or joined to anything; `upstream_path` is written anew from
    the table and the checked names.
    Errors: NotFound, reason `path_not_proxied`, for everything that is not in the table.
    Source: docs/product.md 4, "Drop-in proxy"; security rule 1.
    """
    segments = _segments(found)
    place = _EXACT.get("/".join(segments)) or _named(segments)
    if place is None:
        raise _not_proxied()
    return place


def query(route: Route, raw_query: bytes) -> str:
    """Return the query string to send upstream: what the route knows, written anew; the rest is left out.

    Errors: InvalidInput where a field that would be sent stands twice, or there is too much of it.
    """
    return urlencode(read_query(route, raw_query))


def read_query(route: Route, raw_query: bytes) -> dict[str, str]:
    """Return those fields of a query that the route knows.

    Errors: as `query`.
    """
    if not route.parameters or not raw_query:
        return {}
    fields = _fields(raw_query)
    known = [(name, value) for name, value in fields if name in route.parameters]
    if len(known) != len({name for name, _ in known}):
        raise InvalidInput("The query names a field twice.", hint="Send each field once.")
    return dict(known)


def _fields(raw_query: bytes) -> list[tuple[str, str]]:
    try:
        if len(raw_query) > QUERY_BYTES_MAX:
            raise ValueError("too long")
        text = raw_query.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
    except ValueError as exc:
        raise InvalidInput("The query string cannot be read.", hint="Send a shorter one, in UTF-8.") from exc


def _segments(found: bytes | None) -> list[str]:
    if not found or len(found) > SUFFIX_BYTES_MAX or not _CHARACTERS.fullmatch(found):
        raise _not_proxied()
    segments = found.split(b"/")
    if any(segment in _DOTS for segment in segments):
        raise _not_proxied()
    return [segment.decode("ascii") for segment in segments]


def _named(segments: list[str]) -> Place | None:
    for words, routes in _TEMPLATES.items():
        if len(words) == len(segments) and (names := _names(words, segments)) is not None:
            written = [quote(found, safe="") for found in segments]
            return Place(routes=routes, upstream_path="/".join(written), names=names)
    return None


def _names(words: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    names: dict[str, str] = {}
    for word, segment in zip(words, segments, strict=True):
        if not word.startswith("{"):
            if word != segment:
                return None
            continue
        if not _CONVERTERS[word[1:-1]].fullmatch(segment):
            return None
        names[word[1:-1]] = segment
    return names


def _not_proxied() -> NotFound:
    return NotFound(
        "This path is not proxied.",
        hint="The proxy opens inference and model lists; see the API guide for the paths.",
        details={"reason": "path_not_proxied"},
    )


def _table() -> dict[str, Route]:
    rows = [
        *(
            _route(name, Treatment.METERED, shape, _QUERY_OF_METERED.get(name))
            for name, shape in _METERED.items()
        ),
        *(_route(name, Treatment.FREE, parameters=known) for name, known in _FREE.items()),
        *(_route(name, Treatment.OURS, parameters=known) for name, known in _OURS.items()),
        *(_route(name, Treatment.NEVER) for name in re.split(r",\s+", _NEVER.strip())),
    ]
    return {f"{route.method} {route.template}": route for route in rows}


def _route(
    name: str, treatment: Treatment, shape: str = "", parameters: frozenset[str] | None = None
) -> Route:
    method, _, template = name.partition(" ")
    return Route(method, template, treatment, shape, parameters or frozenset())


def _places() -> tuple[dict[str, Place], dict[tuple[str, ...], Mapping[str, Route]]]:
    by_template: dict[str, dict[str, Route]] = {}
    for route in TABLE.values():
        if route.treatment is not Treatment.NEVER:
            by_template.setdefault(route.template, {})[route.method] = route
    exact = {
        template: Place(routes=routes, upstream_path=template, names={})
        for template, routes in by_template.items()
        if "{" not in template
    }
    named: dict[tuple[str, ...], Mapping[str, Route]] = {
        tuple(template.split("/")): routes for template, routes in by_template.items() if "{" in template
    }
    return exact, named


# Every path of upstream's that is known, as `METHOD template`.
TABLE = _table()
_EXACT, _TEMPLATES = _places()
