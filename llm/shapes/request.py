"""A request of any metered shape, checked: what runs, how it is answered, and what it holds for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm import bodies, pricing


@dataclass(frozen=True, slots=True)
class Request:
    """A checked request. `models` are all that may run, the first one first.

    `words` is the request in the words of a chat completion, as far as they decide about its cost: what the shapes
    of text have in common, for `pricing.bound`. `is_unpriced`: something may run that has no price known beforehand.
    `least_tokens` is the shortest output worth having; less is never granted.
    """

    body: bodies.Body
    models: tuple[str, ...]
    is_stream: bool
    words: Mapping[str, Any] = field(default_factory=dict)
    is_unpriced: bool = False
    least_tokens: int = pricing.OUTPUT_TOKENS_LEAST

    @property
    def fields(self) -> Mapping[str, Any]:
        """The body's fields as the caller sent them."""
        return self.body.fields
