"""Models: the catalogue as the database has it, what each model costs, and which kits allow it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from accounts import ids, kits
from accounts.errors import NotFound
from accounts.kits import Kit
from accounts.models import AccountKit
from llm import catalog
from llm.catalog import Filters, Model
from llm.models import CatalogSnapshot
from naive_platform import kit_effects
from naive_platform.dashboard import doors, tables
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table

# A company has few; a select of more would be no help.
KITS_SHOWN = 100
CONTEXTS = {"32000": "32 K", "128000": "128 K", "200000": "200 K", "1000000": "1 M"}
ANSWERS = {"yes": "allowed", "no": "denied"}
_SORTS = ("name", "context", "prompt", "completion")
_TOKENS = "per million tokens"
# What upstream's names of prices mean, and the unit in which people compare them.
_PRICES = {
    "prompt": ("Prompt", _TOKENS),
    "completion": ("Completion", _TOKENS),
    "internal_reasoning": ("Reasoning", _TOKENS),
    "input_cache_read": ("Prompt read from cache", _TOKENS),
    "input_cache_write": ("Prompt written to cache", _TOKENS),
    "input_cache_write_1h": ("Prompt written to cache for an hour", _TOKENS),
    "audio": ("Audio in", _TOKENS),
    "input_audio_cache": ("Audio read from cache", _TOKENS),
    "audio_output": ("Audio out", _TOKENS),
    "image_output": ("Images out", _TOKENS),
    "image_token": ("Image tokens", _TOKENS),
    "image": ("Image in", "per image"),
    "request": ("Request", "per request"),
    "web_search": ("Web search", "per search"),
}
_MILLION = 6


@dataclass(frozen=True, slots=True)
class Price:
    """One of a model's prices; `amount` None where upstream decides it call by call. Units: USD per `unit`."""

    title: str
    amount: Decimal | None
    unit: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the URL asks for, checked."""

    filters: Filters
    context_least: int
    kit: Kit | None
    answer: str

    def allows(self, model: str) -> bool:
        """Whether the chosen kit lets a user call it; everything where none is chosen."""
        return self.kit is None or allows(self.kit, model)

    def passes(self, model: Model) -> bool:
        if (model.entry.get("context_length") or 0) < self.context_least:
            return False
        return not self.answer or self.allows(model.id) == (self.answer == "yes")


@doors.page("models")
def models_page(request: HttpRequest, place: Place) -> HttpResponse:
    known = kit_effects.catalogue()
    company_kits = _kits(place)
    wanted = _read(request, place)
    found = [
        model for model in catalog.select(wanted.filters, allowed=lambda _: True) if wanted.passes(model)
    ]
    context = {
        "kits": company_kits,
        "kit": wanted.kit,
        "providers": sorted({model.id.partition("/")[0] for model in known.models}),
        "modalities": sorted(
            {name for model in known.models for name in modalities(model, "input", "output")}
        ),
        "contexts": CONTEXTS.items(),
        "answers": ANSWERS.items(),
        "known": len(known.models),
        "found": len(found),
        "allowed": sum(wanted.allows(model.id) for model in found),
        "fetched_at": CatalogSnapshot.objects.values_list("fetched_at", flat=True).first(),
        "table": _table(request, found, wanted),
    }
    return doors.render(request, place, "dashboard/models.html", context)


@doors.page("models")
def model_page(request: HttpRequest, place: Place, model_id: str) -> HttpResponse:
    model = kit_effects.catalogue().by_id.get(model_id)
    if model is None:
        raise NotFound(
            f"There is no model {model_id[:100]!r} in the catalogue.", hint="Search the page Models."
        )
    context = {
        "model": model,
        "prices": prices(model),
        "facts": _facts(model),
        "parameters": sorted(str(name) for name in model.entry.get("supported_parameters") or ()),
        "description": str(model.entry.get("description") or ""),
        "verdicts": [(row, allows(kits.gate(row), model.id)) for row in _kits(place)],
        "markup": place.company.markup or settings.MARKUP,
        "curl": curl(request, model.id),
    }
    template = "dashboard/_model.html" if doors.is_htmx(request) else "dashboard/model.html"
    return doors.render(request, place, template, context)


def allows(kit: Kit, model: str) -> bool:
    """Whether a user of the kit may call it, as the gate decides."""
    return kits.is_open(kit, "llm") and kits.allows_model(kit.rules, model)


def base_url(request: HttpRequest) -> str:
    """Where the data plane is, for who copies a call."""
    return settings.PUBLIC_URL.rstrip("/") or request.build_absolute_uri("/").rstrip("/")


def curl(request: HttpRequest, model_id: str, *, user_id: str = "") -> str:
    """A call of the model, ready for a shell that has a key."""
    sent_for = f'  -H "X-Naive-User-Id: {user_id}" \\\n' if user_id else ""
    return (
        f"curl -N {base_url(request)}/v1/llm/chat/completions \\\n"
        '  -H "Authorization: Bearer $NAIVE_API_KEY" \\\n'
        f"{sent_for}"
        '  -H "Content-Type: application/json" \\\n'
        f'  -d \'{{"model": "{model_id}", "stream": true,\n'
        '       "messages": [{"role": "user", "content": "Say hello."}]}\''
    )


def modalities(model: Model, *ends: str) -> list[str]:
    """What a model takes (`input`) or gives (`output`)."""
    architecture = model.entry.get("architecture")
    found = architecture if isinstance(architecture, Mapping) else {}
    return [str(name) for end in ends for name in found.get(f"{end}_modalities") or ()]


def prices(model: Model) -> list[Price]:
    """Every price upstream lists, but those that are zero; what a prompt and an answer cost always."""
    listed = model.entry.get("pricing")
    listed = listed if isinstance(listed, Mapping) else {}
    found = [
        _price(name, amount)
        for name, amount in sorted(listed.items(), key=lambda pair: _place(pair[0]))
        if name not in ("overrides", "discount")
    ]
    for longer in listed.get("overrides") or ():
        if isinstance(longer, Mapping):
            over = f" above {longer.get('min_prompt_tokens') or 0:,} prompt tokens"
            found += [_price(name, longer[name], over) for name in _PRICES if name in longer]
    skus = model.entry.get("pricing_skus")
    for name, amount in (skus if isinstance(skus, Mapping) else {}).items():
        found.append(_price(str(name), amount))
    return [price for price in found if price.amount or price.title in ("Prompt", "Completion")]


def _price(name: str, amount: object, over: str = "") -> Price:
    title, unit = _PRICES.get(name, (name.replace("_", " ").capitalize(), "as upstream lists it"))
    try:
        found = Decimal(str(amount))
    except InvalidOperation:
        return Price(title + over, None, unit)
    if not found.is_finite() or found < 0:
        return Price(title + over, None, unit)
    return Price(title + over, found.scaleb(_MILLION) if unit == _TOKENS else found, unit)


def _place(name: str) -> int:
    return list(_PRICES).index(name) if name in _PRICES else len(_PRICES)


def _facts(model: Model) -> list[tuple[str, str]]:
    entry = model.entry
    top = entry.get("top_provider")
    longest = top.get("max_completion_tokens") if isinstance(top, Mapping) else None
    created = entry.get("created")
    found = [
        ("Context", _tokens(entry.get("context_length"))),
        ("Longest answer", _tokens(longest)),
        ("Takes", ", ".join(modalities(model, "input"))),
        ("Gives", ", ".join(modalities(model, "output"))),
        ("Tokenizer", str((entry.get("architecture") or {}).get("tokenizer") or "")),
        ("Since", f"{datetime.fromtimestamp(created, UTC):%-d %b %Y}" if isinstance(created, int) else ""),
    ]
    return [(title, text) for title, text in found if text]


def _tokens(count: object) -> str:
    return f"{count:,} tokens" if isinstance(count, int) else ""


def _kits(place: Place) -> Sequence[AccountKit]:
    return list(
        AccountKit.objects.filter(company_id=place.company_id).order_by("-is_default", "name")[:KITS_SHOWN]
    )


def _read(request: HttpRequest, place: Place) -> Wanted:
    """Errors: InvalidInput (max_price), NotFound (a kit that is not theirs)."""
    said = request.GET.get("kit", "")
    kit_id = ids.parse(said)
    if said and kit_id is None:
        raise NotFound(f"Account kit {said[:100]} was not found.")
    answer, context = request.GET.get("allowed", ""), request.GET.get("context", "")
    return Wanted(
        filters=catalog.read_filters(request.GET),
        context_least=int(context) if context in CONTEXTS else 0,
        kit=kits.gate(kits.get(company_id=place.company_id, kit_id=kit_id)) if kit_id else None,
        answer=answer if kit_id and answer in ANSWERS else "",
    )


def _table(request: HttpRequest, found: Sequence[Model], wanted: Wanted) -> Table:
    sort = tables.read_sort(request.GET, _SORTS, "name")
    first = tables.read_number_cursor(request.GET) or 0
    last = first + tables.LIMIT
    by_kit = [Column(title="Allowed", kind="state")] if wanted.kit else []
    return Table(
        name="models",
        caption="Models",
        columns=(
            Column(title="Model", sort="name", is_title=True),
            *by_kit,
            Column(title="Context", kind="count", sort="context"),
            Column(title="Prompt / M tokens", kind="usd", sort="prompt"),
            Column(title="Completion / M tokens", kind="usd", sort="completion"),
            Column(title="Takes → gives", is_hidden_narrow=True),
        ),
        rows=[_row(model, wanted) for model in _sorted(found, sort)[first:last]],
        next_cursor=tables.cursor(last) if last < len(found) else None,
        is_first=first == 0,
        sort=sort,
        empty=_empty(),
    )


def _empty() -> Empty:
    if not catalog.current().models:
        return Empty(
            "There is no catalogue yet: it is fetched as soon as upstream answers, within minutes of a start."
        )
    return Empty("No model is like that.", action="Show all", href=reverse("dashboard-models"))


def _row(model: Model, wanted: Wanted) -> Row:
    href = reverse("dashboard-models-one", args=[model.id])
    state = [Cell("allowed" if wanted.allows(model.id) else "denied")] if wanted.kit else []
    takes, gives = ", ".join(modalities(model, "input")), ", ".join(modalities(model, "output"))
    return Row(
        [
            Cell(model.name, note=model.id),
            *state,
            Cell(model.entry.get("context_length")),
            Cell(_per_million(model, "prompt")),
            Cell(_per_million(model, "completion")),
            Cell(f"{takes} → {gives}" if takes or gives else None),
        ],
        href=href,
        drawer=href,
    )


def _sorted(found: Sequence[Model], sort: str) -> list[Model]:
    """By name, or by a number of which the models without it come last, whichever way round."""
    word, is_down = sort.removeprefix("-"), sort.startswith("-")
    if word == "name":
        return sorted(found, key=lambda model: (model.name.casefold(), model.id), reverse=is_down)
    numbers: dict[str, Decimal | int | None] = {
        model.id: model.entry.get("context_length") if word == "context" else _per_million(model, word)
        for model in found
    }
    known = [model for model in found if numbers[model.id] is not None]
    unknown = [model for model in found if numbers[model.id] is None]

    def number(model: Model) -> Any:
        return numbers[model.id]

    return [*sorted(known, key=number, reverse=is_down), *unknown]


def _per_million(model: Model, name: str) -> Decimal | None:
    listed = model.entry.get("pricing")
    return _price(name, listed.get(name)).amount if isinstance(listed, Mapping) else None
