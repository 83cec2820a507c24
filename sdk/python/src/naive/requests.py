"""One request as data: what a route makes, and a transport sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from naive import options

if TYPE_CHECKING:
    from naive.types import Model

_OPTIONS = options.Options.__annotations__.keys()
# Parameters of routes that are headers.
_HEADERS = {"if_match": "If-Match"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request[T]:
    """What to ask, and what to make of the answer.

    `is_repeatable`: the same again does no harm, so that it may be sent again where no answer came.
    """

    method: str
    path: str
    answer: Callable[[Any], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    options: options.Options = field(default_factory=lambda: options.Options())
    is_repeatable: bool = True
    # Whether the answer is a text, and no JSON.
    is_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing[T](Request[list[T]]):
    """A request for a page of a list; `plural` is where its items are."""

    plural: str
    item: Callable[[Any], T]


def get[T](path: str, params: Mapping[str, Any], answer: type[T]) -> Request[T]:
    """A read: what is not an option is the query."""
    query, headers, chosen = _divided(params)
    return Request(
        method="GET", path=path, answer=parsed(answer), query=query, headers=headers, options=chosen
    )


def text(path: str, params: Mapping[str, Any]) -> Request[str]:
    """A read whose answer is no JSON."""
    query, headers, chosen = _divided(params)
    return Request(
        method="GET", path=path, answer=str, query=query, headers=headers, options=chosen, is_text=True
    )


def unnamed(
    method: str,
    path: str,
    *,
    query: Mapping[str, Any] | None,
    body: Mapping[str, Any] | None,
    chosen: options.Options,
) -> Request[dict[str, Any]]:
    """Any request; its answer is the JSON object that comes."""
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is no path such as /v1/status")
    return Request(
        method=method.upper(), path=path, answer=_object, query=query or {}, body=body, options=chosen
    )


def post[T](
    path: str, params: Mapping[str, Any], answer: type[T], *, is_repeatable: bool = True
) -> Request[T]:
    """A deed: what is not an option is the body."""
    return _deed("POST", path, params, answer, is_repeatable=is_repeatable)


def patch[T](path: str, params: Mapping[str, Any], answer: type[T]) -> Request[T]:
    return _deed("PATCH", path, params, answer)


def delete[T](path: str, params: Mapping[str, Any], answer: type[T]) -> Request[T]:
    """A removal; it has no body."""
    query, headers, chosen = _divided(params)
    return Request(
        method="DELETE", path=path, answer=parsed(answer), query=query, headers=headers, options=chosen
    )


def listing[T](path: str, plural: str, params: Mapping[str, Any], item: type[T]) -> Listing[T]:
    """A page of `{<plural>: [item, …], next_cursor}`."""
    query, headers, chosen = _divided(params)
    parse = parsed(item)
    return Listing(
        method="GET",
        path=path,
        answer=lambda data: [parse(row) for row in data[plural]],
        query=query,
        headers=headers,
        options=chosen,
        plural=plural,
        item=parse,
    )


def at(*segments: str) -> str:
    """Return the path /v1/… of these segments. Errors: ValueError for an id that would lead to another path.

    A slash is refused, for servers read one that is encoded as one that is not.
    """
    for segment in segments:
        if not isinstance(segment, str) or segment in ("", ".", "..") or "/" in segment:
            raise ValueError(f"{segment!r} is no id; give the id of what you mean")
    return "/v1/" + "/".join(quote(segment, safe=":") for segment in segments)


def parsed[T](answer: type[T]) -> Callable[[Any], T]:
    """Return what makes an `answer` of JSON."""
    return cast("type[Model]", answer).read  # type: ignore[return-value]


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise TypeError("no object")
    return data


def _deed[T](
    method: str, path: str, params: Mapping[str, Any], answer: type[T], *, is_repeatable: bool = True
) -> Request[T]:
    body, headers, chosen = _divided(params)
    return Request(
        method=method,
        path=path,
        answer=parsed(answer),
        body=body,
        headers=headers,
        options=chosen,
        is_repeatable=is_repeatable,
    )


def _divided(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str], options.Options]:
    """Return a route's own parameters, those of them that are headers, and the options of the call."""
    own = {name: value for name, value in params.items() if name not in _OPTIONS and name not in _HEADERS}
    headers = {_HEADERS[name]: str(value) for name, value in params.items() if name in _HEADERS}
    chosen = {name: value for name, value in params.items() if name in _OPTIONS}
    return own, headers, cast("options.Options", chosen)
