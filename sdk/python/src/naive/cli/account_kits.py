"""`naive account-kits`: what the users who have one may do."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from naive.cli import commands, figures, lists
from naive.cli.answers import Answer, UsageError
from naive.cli.session import Session, given
from naive.cli.terminal import Column, Terminal

if TYPE_CHECKING:
    from naive import types

app = commands.noun("Manage what users may do.")

RULES = "Models"


def _primitives(text: str) -> dict[str, Any]:
    """Read primitives_config: JSON, @file, or - for stdin. Errors: BadParameter."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, ValueError) as exc:
        raise typer.BadParameter(f"{exc}.") from exc
    if not isinstance(found, dict):
        raise typer.BadParameter("primitives_config is a JSON object: {primitive: {enabled, defaults}}.")
    return found


ID = Annotated[str, typer.Argument(help="The kit's id.", metavar="KIT", parser=figures.identity)]
Description = Annotated[str | None, typer.Option(help="For people.")]
IsDefault = Annotated[bool | None, typer.Option("--default", help="Whoever is given no kit gets this one.")]
LLM = Annotated[
    bool | None, typer.Option("--llm/--no-llm", help="Open or close models.", rich_help_panel=RULES)
]
Allow = Annotated[
    list[str] | None, typer.Option(help="Only these, such as anthropic/*; repeatable.", rich_help_panel=RULES)
]
Deny = Annotated[list[str] | None, typer.Option(help="None of these; repeatable.", rich_help_panel=RULES)]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, help="Most tokens of an answer.", rich_help_panel=RULES)
]
MaxCost = Annotated[
    Decimal | None,
    typer.Option(
        parser=figures.decimal,
        metavar="USD",
        help="Most USD a call.",
        rich_help_panel=RULES,
        show_default=False,
    ),
]
Monthly = Annotated[
    Decimal | None,
    typer.Option(
        "--monthly-credits", parser=figures.decimal, metavar="CREDITS", help="Most credits a user a month.",
        rich_help_panel=RULES, show_default=False,
    ),
]  # fmt: skip
PerMinute = Annotated[
    int | None,
    typer.Option("--requests-per-minute", min=1, help="Most calls a user a minute.", rich_help_panel=RULES),
]
Primitives = Annotated[
    Any,
    typer.Option(
        parser=_primitives, metavar="JSON", help="primitives_config: JSON, @file or -.", show_default=False
    ),
]


@commands.command(app, "list", action="account-kits.list")
def list_kits(
    session: Session,
    *,
    search: Annotated[str | None, typer.Argument(help="How the name begins.")] = None,
    limit: lists.Limit = lists.LISTED,
    cursor: lists.Cursor = None,
) -> Answer:
    """List kits, the newest first."""
    columns: list[Column[types.AccountKit]] = [
        Column("id", lambda kit: kit.id, style="cyan"),
        Column("name", lambda kit: figures.line(kit.name)),
        Column("users", lambda kit: figures.count(kit.users), is_number=True),
        Column("default", lambda kit: "✓" if kit.is_default else ""),
        Column("models", lambda kit: _models(kit)),
    ]
    found = session.client.account_kits.list(**given(search=search, limit=limit, cursor=cursor))
    return lists.page(found, "account_kits", columns, command="naive account-kits list", empty="No kits.")


@commands.command(app, "create", action="account-kits.create")
def create(
    session: Session,
    *,
    name: Annotated[str, typer.Argument(help="Unique in your company.")],
    description: Description = None,
    is_default: IsDefault = None,
    llm: LLM = None,
    allow: Allow = None,
    deny: Deny = None,
    max_tokens: MaxTokens = None,
    max_cost: MaxCost = None,
    monthly_credits: Monthly = None,
    requests_per_minute: PerMinute = None,
    primitives: Primitives = None,
) -> Answer:
    """Create a kit; what is not limited is open."""
    rules = _rules(allow, deny, max_tokens, max_cost, monthly_credits, requests_per_minute)
    config = _config(primitives, llm=llm, rules=rules)
    fields = given(description=description, is_default=is_default, primitives_config=config)
    kit = session.client.account_kits.create(name=name, **fields)
    return _one(kit, "Created", [f"naive account-kits assign {kit.id} USER"])


@commands.command(app, "get", action="account-kits.get")
def get(session: Session, *, kit: ID) -> Answer:
    """Show a kit."""
    return _one(session.client.account_kits.get(kit))


@commands.command(app, "update", action="account-kits.update")
def update(
    session: Session,
    *,
    kit: ID,
    name: Annotated[str | None, typer.Option(help="Unique in your company.")] = None,
    description: Description = None,
    is_default: IsDefault = None,
    llm: LLM = None,
    allow: Allow = None,
    deny: Deny = None,
    max_tokens: MaxTokens = None,
    max_cost: MaxCost = None,
    monthly_credits: Monthly = None,
    requests_per_minute: PerMinute = None,
    primitives: Primitives = None,
    if_match: Annotated[
        str | None, typer.Option(help="The etag that was read: change that state, or nothing.")
    ] = None,
) -> Answer:
    """Change what is given; it acts on the next call. null in --primitives takes a rule away."""
    rules = _rules(allow, deny, max_tokens, max_cost, monthly_credits, requests_per_minute)
    config = _config(primitives, llm=llm, rules=rules)
    fields = given(
        name=name, description=description, is_default=is_default, primitives_config=config, if_match=if_match
    )
    return _one(session.client.account_kits.update(kit, **fields), "Changed")


@commands.command(app, "delete", action="account-kits.delete")
def delete(session: Session, *, kit: ID, yes: lists.Yes = False) -> Answer:
    """Delete a kit that nobody has."""
    lists.confirm(session, f"Delete account kit {kit}?", yes=yes)
    found = session.client.account_kits.delete(kit)
    return Answer(found, lambda terminal: terminal.done(f"Deleted account kit {found.id}"))


@commands.command(app, "assign", action="account-kits.assign")
def assign(
    session: Session,
    *,
    kit: ID,
    users: Annotated[
        list[str] | None, typer.Argument(help="Ids, or ext:<external_id>.", metavar="USER...")
    ] = None,
    from_kit: Annotated[
        str | None, typer.Option("--from", help="Everybody who has this kit.", metavar="KIT")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Everybody.")] = False,
) -> Answer:
    """Give users this kit, all or none of them; it acts on their next call."""
    whom = given(user_ids=users or None, from_kit_id=from_kit, all=everybody or None)
    if len(whom) != 1:
        raise UsageError("Say who: users, or --from a kit, or --all.", code="usage")
    found = session.client.account_kits.assign(kit, **whom)
    told = f"{figures.count(found.assigned)} users have the kit now, {figures.count(found.unchanged)} had it before"
    return Answer(found, lambda terminal: terminal.done(told))


def _rules(
    allow: list[str] | None,
    deny: list[str] | None,
    max_tokens: int | None,
    max_cost: Decimal | None,
    monthly_credits: Decimal | None,
    requests_per_minute: int | None,
) -> dict[str, Any]:
    return given(
        allowed_models=allow or None,
        denied_models=deny or None,
        max_tokens=max_tokens,
        max_cost_usd_per_call=max_cost,
        monthly_credits_per_user=monthly_credits,
        requests_per_minute=requests_per_minute,
    )


def _config(
    primitives: dict[str, Any] | None, *, llm: bool | None, rules: dict[str, Any]
) -> dict[str, Any] | None:
    """Return primitives_config as given, with what the options say of models over it."""
    config = dict(primitives or {})
    if llm is not None or rules:
        own = dict(config.get("llm") or {})
        if rules:
            own["defaults"] = {**(own.get("defaults") or {}), **rules}
        # A primitive has to say whether it is open.
        own["enabled"] = llm if llm is not None else own.get("enabled", True)
        config["llm"] = own
    return config or None


def _models(kit: types.AccountKit) -> str:
    llm = kit.primitives_config.get("llm") or {}
    if llm.get("enabled") is False:
        return "closed"
    rules = llm.get("defaults") or {}
    allowed, denied = rules.get("allowed_models"), rules.get("denied_models")
    told = ", ".join(figures.line(one) for one in allowed) if allowed else "all"
    return f"{told}, not {', '.join(figures.line(one) for one in denied)}" if denied else told


def _one(kit: types.AccountKit, done: str = "", steps: list[str] | None = None) -> Answer:
    def show(terminal: Terminal) -> None:
        if done:
            terminal.done(f"{done} account kit")
        rules = (kit.primitives_config.get("llm") or {}).get("defaults") or {}
        terminal.facts(
            [
                ("id", kit.id),
                ("name", figures.line(kit.name)),
                ("description", figures.line(kit.description)),
                ("default", figures.line(kit.is_default)),
                ("models", _models(kit)),
                *((name, _rule(value)) for name, value in rules.items() if not name.endswith("_models")),
                ("etag", figures.line(kit.etag)),
                ("created", figures.when(kit.created_at)),
            ]
        )

    return Answer(kit, show, steps or ())


def _rule(value: Any) -> str:
    return (
        figures.line(json.dumps(value, ensure_ascii=False))
        if isinstance(value, dict)
        else figures.amount(value)
    )
