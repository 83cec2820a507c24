"""Lists of models such as `anthropic/*`: which model a kit's allow list and deny list let pass."""

import functools
from dataclasses import dataclass

PRESET = "@preset/"
ROUTER = "openrouter/"
ALIAS = "~"
# Upstream knows one or two at a time; a deny list looks at each of them.
VARIANTS_MAX = 8


def allow(model: str, *, allowed: tuple[str, ...] | None, denied: tuple[str, ...]) -> bool:
    """Whether the lists let `model` pass; `*` in a glob stands for any characters, and case matters.

    An allow list is matched against the model as it is written, `:variant` included. A deny list wins over it, and
    also catches every form of what it names: `openai/o1-pro` denies `openai/o1-pro:online`, and `anthropic/*` the
    alias `~anthropic/claude-latest`.
    Presets (`@preset/x`, `vendor/model@preset/x`) and routers (`openrouter/auto`) choose a model that nobody
    sees here, so where there is a list of either kind they pass only if an allow list names them: `@preset/x`,
    `openrouter/*`, not `*`. An alias may stand for any model of its vendor, so a deny list that may mean one of
    those stops it alike.
    Source: docs/product.md 3, "Account kit"; docs/architecture.md, "Choices where the contract is silent".
    """
    if denied and _is_denied(denied, model):
        return False
    chooses = PRESET in model or model.startswith(ROUTER)
    if chooses or _is_doubtful_alias(denied, model):
        if allowed is None:
            return not denied
        return any(_names(glob, model) for glob in allowed)
    return allowed is None or _globs(allowed).match(model)


def _is_denied(denied: tuple[str, ...], model: str) -> bool:
    plain = model.removeprefix(ALIAS).partition(PRESET)[0]
    base, *variants = plain.split(":")
    if len(variants) > VARIANTS_MAX:
        return True
    forms = {model, model.removeprefix(ALIAS), plain, base, *(f"{base}:{variant}" for variant in variants)}
    globs = _globs(denied)
    return any(globs.match(form) for form in forms)


def _is_doubtful_alias(denied: tuple[str, ...], model: str) -> bool:
    if not model.startswith(ALIAS):
        return False
    vendor = model.removeprefix(ALIAS).partition("/")[0] + "/"
    heads = [glob.partition("*")[0] for glob in denied]
    return any(head.startswith(vendor) or vendor.startswith(head) for head in heads)


def _names(glob: str, model: str) -> bool:
    if PRESET in model and PRESET not in glob:
        return False
    if model.startswith(ROUTER) and not glob.startswith(ROUTER):
        return False
    if model.startswith(ALIAS) and not glob.startswith(ALIAS):
        return False
    return _globs((glob,)).match(model)


@dataclass(frozen=True, slots=True)
class _Globs:
    """A list of globs, taken apart once: a regular expression of 500 of them takes half a second to compile."""

    literal: frozenset[str]
    # The text around each `*`.
    pieces: tuple[tuple[str, ...], ...]

    def match(self, model: str) -> bool:
        return model in self.literal or any(_fits(pieces, model) for pieces in self.pieces)


@functools.lru_cache(maxsize=4096)
def _globs(globs: tuple[str, ...]) -> _Globs:
    return _Globs(
        literal=frozenset(glob for glob in globs if "*" not in glob),
        pieces=tuple(tuple(glob.split("*")) for glob in globs if "*" in glob),
    )


def _fits(pieces: tuple[str, ...], model: str) -> bool:
    head, *middle, tail = pieces
    at, end = len(head), len(model) - len(tail)
    if at > end or not model.startswith(head) or not model.endswith(tail):
        return False
    # The first place of a piece leaves the most room for those after it, so nothing is ever tried twice.
    for piece in middle:
        found = model.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
