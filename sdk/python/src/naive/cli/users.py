"""`naive users`: your own users, each with a kit, usage and session tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from naive.cli import commands, figures, lists, usage
from naive.cli.answers import Answer
from naive.cli.session import Session, given
from naive.cli.terminal import Column, Terminal

if TYPE_CHECKING:
    from naive import types

app = commands.noun("Manage your tenant users: an id, ext:<external_id> or default names one.")

Status = Literal["active", "suspended"]

ID = Annotated[
    str, typer.Argument(help="An id, ext:<external_id> or default.", metavar="USER", parser=figures.identity)
]
ExternalID = Annotated[str | None, typer.Option(help="Your own id of the user.")]
Email = Annotated[str | None, typer.Option(help="An address.")]
Label = Annotated[str | None, typer.Option(help="A name for people.")]
Kit = Annotated[str | None, typer.Option("--kit", help="The account kit's id.")]


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise typer.BadParameter(f"is no JSON: {exc}.") from exc
    if not isinstance(found, dict):
        raise typer.BadParameter("is no JSON object.")
    return found


Metadata = Annotated[
    Any, typer.Option(help="A JSON object.", parser=_object, metavar="JSON", show_default=False)
]


@commands.command(app, "list", action="users.list")
def list_users(
    session: Session,
    *,
    search: Annotated[
        str | None, typer.Argument(help="How the address, label or external id begins.")
    ] = None,
    status: Annotated[Status | None, typer.Option(help="Only these.")] = None,
    kit: Kit = None,
    limit: lists.Limit = lists.LISTED,
    cursor: lists.Cursor = None,
) -> Answer:
    """List users, the newest first."""
    wanted = given(search=search, status=status, account_kit_id=kit, limit=limit, cursor=cursor)
    now = figures.now()
    columns: list[Column[types.User]] = [
        Column("id", lambda user: user.id, style="cyan"),
        Column("external id", lambda user: figures.line(user.external_id)),
        Column("name", lambda user: figures.line(user.label or user.email)),
        Column("status", lambda user: user.status),
        Column("last active", lambda user: figures.ago(user.last_active_at, now=now)),
    ]
    empty = "No users. Make one: naive users create --external-id alice"
    found = session.client.users.list(**wanted)
    return lists.page(found, "users", columns, command="naive users list", empty=empty)


@commands.command(app, "create", action="users.create")
def create(
    session: Session,
    *,
    external_id: ExternalID = None,
    email: Email = None,
    label: Label = None,
    kit: Kit = None,
    metadata: Metadata = None,
) -> Answer:
    """Create a user."""
    fields = given(external_id=external_id, email=email, label=label, account_kit_id=kit, metadata=metadata)
    user = session.client.users.create(**fields)
    step = f'naive llm chat -u {user.id} -m openai/gpt-5.2 "Hello"'
    return _one(user, "Created", [step])


@commands.command(app, "get", action="users.get")
def get(session: Session, *, user: ID) -> Answer:
    """Show a user."""
    return _one(session.client.users.get(user))


@commands.command(app, "update", action="users.update")
def update(
    session: Session,
    *,
    user: ID,
    external_id: ExternalID = None,
    email: Email = None,
    label: Label = None,
    kit: Kit = None,
    metadata: Metadata = None,
    status: Annotated[Status | None, typer.Option(help="Suspend, or let in again.")] = None,
) -> Answer:
    """Change what is given; metadata is merged."""
    fields = given(
        external_id=external_id,
        email=email,
        label=label,
        account_kit_id=kit,
        metadata=metadata,
        status=status,
    )
    return _one(session.client.users.update(user, **fields), "Changed")


@commands.command(app, "delete", action="users.delete")
def delete(session: Session, *, user: ID) -> Answer:
    """Suspend a user: calls are refused, what was used stays in the books."""
    found = session.client.users.delete(user)
    return _one(found, "Suspended", [f"naive users update {found.id} --status active"])


@commands.command(app, "usage", action="users.usage")
def show_usage(
    session: Session, *, user: ID, days: usage.Days = usage.DAYS, by: usage.By = "model"
) -> Answer:
    """Show what was spent for a user."""
    return usage.answer(session.client.users.usage(user, days=days, group_by=by, limit=1), by=by)


@commands.command(app, "session", action="users.session")
def session_token(
    session: Session,
    *,
    user: ID,
    ttl: Annotated[
        int, typer.Option(parser=figures.span_s, metavar="SPAN", help="How long it lasts.")
    ] = "15m",  # type: ignore[assignment]
) -> Answer:
    """Issue a token for a user's own device. It is shown only here."""
    issued = session.client.users.sessions.create(user, ttl_seconds=ttl)

    def show(terminal: Terminal) -> None:
        terminal.print(issued.token)
        terminal.note(
            f"For user {issued.user_id} until {figures.when(issued.expires_at)}. It is not shown again."
        )

    return Answer(issued, show)


def _one(user: types.User, done: str = "", steps: list[str] | None = None) -> Answer:
    def show(terminal: Terminal) -> None:
        if done:
            terminal.done(f"{done} user")
        terminal.facts(
            [
                ("id", user.id),
                ("external id", figures.line(user.external_id)),
                ("email", figures.line(user.email)),
                ("label", figures.line(user.label)),
                ("status", figures.line(user.status)),
                ("account kit", figures.line(user.account_kit_id)),
                ("metadata", figures.line(json.dumps(user.metadata, ensure_ascii=False))),
                ("created", figures.when(user.created_at)),
                ("last active", figures.when(user.last_active_at)),
            ]
        )

    return Answer(user, show, steps or ())
