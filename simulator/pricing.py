"""What a generation costs: list prices times tokens in Decimal, written as JavaScript doubles."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from simulator.faults import Faults

ZERO, ONE = Decimal(0), Decimal(1)


@functools.lru_cache(maxsize=8192)
def js_number(value: float) -> str:
    """A double as JavaScript prints it: shortest digits, exponents below 1e-6 and from 1e21 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "-Infinity" if value < 0 else "Infinity"
    sign, digit_tuple, exponent = Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, digit_tuple)).rstrip("0")
    if not digits:
        return "0"
    point = len(digit_tuple) + int(exponent)  # Where the decimal point stands, counted from the first digit.
    head = "-" if sign else ""
    if len(digits) <= point <= 21:
        return head + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{head}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{head}0.{'0' * -point}{digits}"
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{head}{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def literal(amount: Decimal) -> str:
    """The number OpenRouter would print. A float on purpose: the wire carries doubles."""
    return js_number(float(amount))


def number(amount: Decimal) -> orjson.Fragment:
    """The same as a JSON number."""
    return orjson.Fragment(literal(amount).encode())


def plain(amount: Decimal) -> str:
    """An amount without exponent and without trailing zeros, as the price list writes it."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Tariff:
    """USD per single token or unit."""

    prompt: Decimal
    completion: Decimal
    request: Decimal = ZERO
    image_output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    overrides: tuple[tuple[int, "Tariff"], ...] = ()

    def at(self, prompt_tokens: int) -> "Tariff":
        """The prices that hold for a prompt of that length; the later of two matching overrides wins."""
        chosen = self
        for min_prompt_tokens, tariff in self.overrides:
            if prompt_tokens > min_prompt_tokens:
                chosen = tariff
        return chosen


def tariff(pricing: Mapping[str, Any]) -> Tariff:
    """The tariff of a Model's `pricing` object (strings, USD per token)."""

    def price(name: str) -> Decimal | None:
        return Decimal(pricing[name]) if name in pricing else None

    overrides = tuple(
        (int(item["min_prompt_tokens"]), tariff({**pricing, **item, "overrides": []}))
        for item in pricing.get("overrides", [])
    )
    return Tariff(
        prompt=max(Decimal(pricing["prompt"]), ZERO),
        completion=max(Decimal(pricing["completion"]), ZERO),
        request=price("request") or ZERO,
        image_output=price("image_output"),
        cache_read=price("input_cache_read"),
        cache_write=price("input_cache_write"),
        overrides=overrides,
    )


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted. `prompt` includes cached and written, `completion` includes reasoning and images."""

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    images: int = 0
    cached: int = 0
    written: int = 0
    requests: int = 1
    searches: int = 0


@dataclass(frozen=True, slots=True)
class Bill:
    """The price of one generation: what is charged, and what the wire says about it."""

    tally: Tally
    literal: str
    amount: Decimal
    wire: str | None
    upstream: str
    prompt_part: str
    completion_part: str
    byok: bool | None
    tools: bool


SEARCH_FEE_USD = Decimal("0.007")  # Exa, upstream.md section 7.


def _parts(prices: Tariff, tally: Tally) -> tuple[Decimal, Decimal]:
    cached_price = prices.prompt if prices.cache_read is None else prices.cache_read
    written_price = prices.prompt if prices.cache_write is None else prices.cache_write
    image_price = prices.completion if prices.image_output is None else prices.image_output
    fresh = max(tally.prompt - tally.cached - tally.written, 0)
    prompt = fresh * prices.prompt + tally.cached * cached_price + tally.written * written_price
    completion = (tally.completion - tally.images) * prices.completion + tally.images * image_price
    return prompt + prices.request * tally.requests, completion


def _written(text: str, amount: Decimal, style: str) -> str:
    """How a knob has the same cost, or an impossible one, written on the wire."""
    if style == "exponent":
        return f"{amount:e}" if amount else "0e0"
    special = {
        "null": "null",
        "string": f'"{text}"',
        "negative": f"-{text}" if amount else "-0.01",
        "nan": "NaN",
        "infinity": "Infinity",
        "huge": "1e+30",
    }
    return special.get(style, text)


def bill(prices: Tariff, tally: Tally, faults: Faults, *, factor: Decimal = ONE, free: bool = False) -> Bill:
    """Price one tally at `factor` times the list. `free`: nothing is charged (cache hit, error, no token)."""
    prompt, completion = _parts(prices.at(tally.prompt), tally)
    factor = ZERO if free else faults.price_factor * factor
    prompt, completion = prompt * factor, completion * factor
    inference = prompt + completion
    tool_fee = ZERO if free else tally.searches * SEARCH_FEE_USD + (faults.server_tool_usd or ZERO)
    total = inference + tool_fee
    if faults.cost_usd is not None and not free:
        total = inference = faults.cost_usd
    text = literal(ZERO if faults.byok else total)
    if faults.cost == "noisy" and total and not faults.byok:
        text = js_number(math.nextafter(float(total), math.inf))
    amount = Decimal(text)
    tools = bool(tool_fee)
    return Bill(
        tally=tally,
        literal=text,
        amount=amount,
        wire=None if faults.omit_cost else _written(text, amount, faults.cost),
        upstream=literal(inference) if tools or faults.byok else text,
        prompt_part=literal(prompt),
        completion_part=literal(completion),
        byok=None if tools else faults.byok,
        tools=tools,
    )
