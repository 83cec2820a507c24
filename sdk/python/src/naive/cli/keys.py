"""`naive keys`: API keys. A secret is shown once, by what issues it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from naive.cli import commands, figures, lists
from naive.cli.answers import Answer
from naive.cli.session import Session, given
from naive.cli.terminal import Column, Terminal

if TYPE_CHECKING:
    from naive import types

app = commands.noun("Manage API keys.")

Role = Literal["owner", "admin", "member", "viewer"]
Period = Literal["day", "week", "month", "total"]

ID = Annotated[str, typer.Argument(help="The key's id.", metavar="KEY", parser=figures.identity)]
Cap = Annotated[
    Decimal | None,
    typer.Option(
        parser=figures.decimal, metavar="CREDITS", help="Most it may spend in a period.", show_default=False
    ),
]
CapPeriod = Annotated[Period | None, typer.Option(help="How long the cap counts; month, if left out.")]
PerMinute = Annotated[int | None, typer.Option("--requests-per-minute", min=1, help="How often it may call.")]
ExpiresIn = Annotated[
    int | None,
    typer.Option(parser=figures.span_s, metavar="SPAN", help="When it ends: 24h, 30d.", show_default=False),
]


@commands.command(app, "list", action="keys.list")
def list_keys(
    session: Session,
    *,
    revoked: Annotated[bool | None, typer.Option("--revoked/--live", help="Only these.")] = None,
    kit: Annotated[str | None, typer.Option(help="Only keys for this account kit.")] = None,
    user: Annotated[str | None, typer.Option("--user", "-u", help="Only keys sealed to this user.")] = None,
    limit: lists.Limit = lists.LISTED,
    cursor: lists.Cursor = None,
) -> Answer:
    """List keys, the newest first."""
    now = figures.now()
    wanted = given(revoked=revoked, account_kit_id=kit, user_id=user, limit=limit, cursor=cursor)
    columns: list[Column[types.APIKey]] = [
        Column("id", lambda key: key.id, style="cyan"),
        Column("name", lambda key: figures.line(key.name)),
        Column("key", lambda key: f"…{key.last_4}"),
        Column("role", lambda key: key.role),
        Column("cap", _cap, is_number=True),
        Column("last used", lambda key: figures.ago(key.last_used_at, now=now)),
        Column("state", lambda key: "revoked" if key.revoked else "live"),
    ]
    found = session.client.keys.list(**wanted)
    return lists.page(found, "keys", columns, command="naive keys list", empty="No keys.")


@commands.command(app, "create", action="keys.create")
def create(
    session: Session,
    *,
    name: Annotated[str, typer.Argument(help="A name for people.")],
    role: Annotated[Role | None, typer.Option(help="At most your own; member, if left out.")] = None,
    user: Annotated[str | None, typer.Option("--user", "-u", help="Seal it to one tenant user.")] = None,
    kit: Annotated[str | None, typer.Option(help="Only for users of this account kit.")] = None,
    cap_credits: Cap = None,
    cap_period: CapPeriod = None,
    requests_per_minute: PerMinute = None,
    expires_in: ExpiresIn = None,
) -> Answer:
    """Create a key. Its secret is shown only here."""
    limits = _limits(cap_credits, cap_period, requests_per_minute, expires_in)
    scope = given(role=role, active_tenant_user_id=user, account_kit_id=kit)
    return _issued(session.client.keys.create(name=name, **scope, **limits), "Created")


@commands.command(app, "update", action="keys.update")
def update(
    session: Session,
    *,
    key: ID,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    cap_credits: Cap = None,
    cap_period: CapPeriod = None,
    no_cap: Annotated[bool, typer.Option("--no-cap", help="Take its cap away.")] = False,
    requests_per_minute: PerMinute = None,
    expires_in: ExpiresIn = None,
) -> Answer:
    """Change a key's name, limits or end; role and scope never change."""
    limits = _limits(cap_credits, cap_period, requests_per_minute, expires_in)
    if no_cap:
        limits |= {"cap_credits": None, "cap_period": None}
    found = session.client.keys.update(key, **given(name=name), **limits)
    return Answer(found, lambda terminal: _show(terminal, found, "Changed"))


@commands.command(app, "rotate", action="keys.rotate")
def rotate(
    session: Session,
    *,
    key: ID,
    overlap_hours: Annotated[int, typer.Option(min=0, max=720, help="How long the old one works on.")] = 24,
) -> Answer:
    """Issue a successor; the old key works on for a day, or as long as you say."""
    return _issued(session.client.keys.rotate(key, overlap_hours=overlap_hours), "Issued the successor of")


@commands.command(app, "revoke", action="keys.revoke")
def revoke(session: Session, *, key: ID, yes: lists.Yes = False) -> Answer:
    """End a key: within a second it opens nothing any more."""
    lists.confirm(session, f"Revoke key {key}?", yes=yes)
    found = session.client.keys.revoke(key)
    return Answer(found, lambda terminal: _show(terminal, found, "Revoked"))


def _limits(
    cap: Decimal | None, period: Period | None, requests_per_minute: int | None, expires_in_s: int | None
) -> dict[str, Any]:
    ends_at = None if expires_in_s is None else figures.now() + timedelta(seconds=expires_in_s)
    return given(
        cap_credits=cap,
        cap_period=period or ("month" if cap is not None else None),
        requests_per_minute=requests_per_minute,
        expires_at=ends_at,
    )


def _issued(key: types.IssuedKey, done: str) -> Answer:
    def show(terminal: Terminal) -> None:
        _show(terminal, key, done)
        terminal.print()
        terminal.print(key.api_key)
        terminal.note("Keep it now: it is not shown again.", style="yellow")

    return Answer(key, show, hints=())


def _show(terminal: Terminal, key: types.APIKey, done: str) -> None:
    terminal.done(f"{done} key {figures.line(key.name)}")
    pairs = [
        ("id", key.id),
        ("role", figures.line(key.role)),
        ("for user", figures.line(key.active_tenant_user_id)),
        ("for kit", figures.line(key.account_kit_id)),
        ("cap", _cap(key)),
        ("a minute", figures.count(key.requests_per_minute)),
        ("expires", figures.when(key.expires_at)),
    ]
    terminal.facts([(name, value) for name, value in pairs if value != figures.NOTHING])


def _cap(key: types.APIKey) -> str:
    return (
        figures.NOTHING if key.cap_credits is None else f"{figures.amount(key.cap_credits)}/{key.cap_period}"
    )
