"""What each verb of a route takes, answers and refuses: said once, for the checks and for the OpenAPI document."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rest_framework import exceptions
from rest_framework.serializers import Serializer

from accounts import fields
from accounts.errors import DomainError, InvalidInput
from naive_platform.api.shapes import Body

ATTRIBUTE = "contract"

# REST framework's words, where a sentence that begins with the path needs others.
_WORDS = {"required": "is missing.", "null": "must not be null.", "blank": "must not be empty."}

type Shape = type[Serializer[Any]]
# What is answered: a shape as JSON, a file of one of these media types, or nothing.
type Answered = Shape | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Contract:
    """One verb: its summary, the shapes it reads and answers by status, and the errors beyond those of every route."""

    summary: str
    answers: Mapping[int, Answered]
    body: Shape | None = None
    query: Shape | None = None
    refuses: Sequence[type[DomainError]] = field(default=())


def describe[H: Callable[..., Any]](
    *,
    summary: str,
    answers: Mapping[int, Answered],
    body: Shape | None = None,
    query: Shape | None = None,
    refuses: Sequence[type[DomainError]] = (),
) -> Callable[[H], H]:
    """Give a verb its contract; a verb without one is refused by a test."""
    contract = Contract(summary=summary, answers=answers, body=body, query=query, refuses=refuses)

    def give(handler: H) -> H:
        setattr(handler, ATTRIBUTE, contract)
        return handler

    return give


def takes_no_body(handler: object) -> bool:
    """Whether a verb has a contract without a body."""
    return hasattr(handler, ATTRIBUTE) and of(handler).body is None


def of(handler: object) -> Contract:
    """The contract of a verb. Errors: AttributeError where it has none."""
    found: Contract = getattr(handler, ATTRIBUTE)
    return found


def read_query(handler: object, given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The parameters of an address by a verb's contract. Errors: InvalidInput, also for one that stands twice."""
    for name, values in given.items():
        if len(values) > 1:
            shown = name[: fields.SHOWN_LENGTH_MAX]
            raise fields.refuse(shown, "stands twice in the address.")
    return read(of(handler).query, {name: values[0] for name, values in given.items()}, what="query")


def read(shape: Shape | None, given: Mapping[str, Any], *, what: str) -> dict[str, Any]:
    """What was sent, checked against its shape; only what was sent, and what has a default.

    Errors: InvalidInput, its message beginning with the path of the first field that is wrong.
    """
    serializer = (shape or Body)(data=given)
    try:
        serializer.is_valid(raise_exception=True)
    except exceptions.ValidationError as exc:
        path, words = _first("", exc.detail)
        raise InvalidInput(f"{path or what}: {words}", details={"field": path or what}) from exc
    return dict(serializer.validated_data)


def _first(path: str, detail: Any) -> tuple[str, str]:
    """The path and the words of the first refusal in REST framework's nest of them."""
    if isinstance(detail, Mapping):
        name, inner = next(iter(detail.items()))
        if isinstance(name, int):
            return _first(f"{path}[{name}]", inner)
        return _first(path if name == "non_field_errors" else f"{path}.{name}".lstrip("."), inner)
    if isinstance(detail, list):
        place, inner = next((place, inner) for place, inner in enumerate(detail) if inner)
        if isinstance(inner, Mapping):
            return _first(f"{path}[{place}]", inner)
        return _first(path, inner)
    return path, _WORDS.get(getattr(detail, "code", ""), str(detail))
