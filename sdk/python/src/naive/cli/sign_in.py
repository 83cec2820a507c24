"""`naive register|login|whoami|use|logout`: who speaks here, and for which company."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from naive import errors
from naive.cli import commands, config, figures
from naive.cli.answers import Answer, UsageError
from naive.cli.session import Session, given
from naive.cli.terminal import Column, Terminal

if TYPE_CHECKING:
    from naive import params, types

app = commands.alone()

PASSWORD_SHORTEST = 8
Email = Annotated[str | None, typer.Option(help="Your address; asked for, if left out.", show_default=False)]
IsPiped = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin; it is never an argument.")
]


@commands.command(app, "register", action="register")
def register(
    session: Session,
    *,
    name: Annotated[
        str | None, typer.Option(help="Your own; asked for, if left out.", show_default=False)
    ] = None,
    email: Email = None,
    company: Annotated[str | None, typer.Option(help="The company's name; your own, if left out.")] = None,
    password_stdin: IsPiped = False,
) -> Answer:
    """Found a company, and sign in to it."""
    name = name or _ask(session, "Your name", "--name")
    email = email or _ask(session, "E-mail", "--email")
    password = _password(session, is_piped=password_stdin, is_new=True)
    fields = given(name=name, email=email, password=password, company_name=company)
    found = session.stranger.auth.register(**fields)
    _keep(session, found)

    def show(terminal: Terminal) -> None:
        terminal.done(f"Founded {figures.line(found.company_name)}")
        terminal.facts(
            [
                ("company", found.company_id),
                ("credits", figures.amount(found.credits_remaining)),
                ("key kept in", _where()),
            ]
        )

    steps = ['naive llm chat -m anthropic/claude-sonnet-4.6 "Write a haiku about Paris"', "naive status"]
    # A grant of nothing waits for the address to be confirmed, and the platform says how.
    hints = [] if found.credits_remaining else [found.hint]
    return Answer(_without_secret(found), show, steps, _told_of_environment(*hints))


@commands.command(app, "login", action="login")
def login(
    session: Session,
    *,
    email: Email = None,
    mfa_code: Annotated[str | None, typer.Option(help="Of your second factor.", show_default=False)] = None,
    password_stdin: IsPiped = False,
) -> Answer:
    """Sign in: a key of your own is made and kept here."""
    email = email or _ask(session, "E-mail", "--email")
    password = _password(session, is_piped=password_stdin)
    fields: params.LoginParams = {"email": email, "password": password}
    if mfa_code is not None:
        fields["mfa_code"] = mfa_code
    found = _signed_in(session, fields)
    _keep(session, found)

    def show(terminal: Terminal) -> None:
        terminal.done(f"Signed in to {figures.line(found.company_name)} as {found.role}")
        terminal.facts([("company", found.company_id), ("key kept in", _where())])

    steps = ["naive use COMPANY"] if len(found.companies) > 1 else ["naive status"]
    return Answer(_without_secret(found), show, steps, _told_of_environment())


@commands.command(app, "whoami", action="whoami")
def whoami(session: Session) -> Answer:
    """Show who you are here, and what that opens."""
    found = session.client.auth.me()

    def show(terminal: Terminal) -> None:
        terminal.head(figures.line(found.company.name), found.role, session.base_url)
        key, person = found.key, found.person
        pairs = [
            ("company", found.company.id),
            ("person", figures.line(person and f"{person.name} <{person.email}>")),
            (figures.line(found.kind), figures.line(key and f"{key.name} ({key.id})")),
            ("key from", "NAIVE_API_KEY" if os.environ.get("NAIVE_API_KEY") else _where()),
            ("calls for", figures.line(found.user.external_id or found.user.id)),
            ("opens", "the llm routes of that user alone" if found.is_narrow else "everything the role may do"),
            ("cap", figures.NOTHING if key is None or key.cap_credits is None
             else f"{figures.credits(key.cap_credits)} a {key.cap_period}"),
            ("expires", figures.when(found.expires_at)),
        ]  # fmt: skip
        terminal.facts([(name, value) for name, value in pairs if value != figures.NOTHING])

    return Answer(found, show)


@commands.command(app, "use", action="use")
def use(
    session: Session,
    *,
    company: Annotated[str | None, typer.Argument(help="Its name or id; lists them, if left out.")] = None,
) -> Answer:
    """Go on in another of your companies."""
    host = session.config.host(session.base_url)
    known = {id: kept.name for id, kept in host.companies.items()}
    if company is None or _chosen(company, known) is None:
        known |= {other.id: other.name for other in session.client.auth.me().companies}
    if company is None:
        return _companies(known, host.company_id)
    id = _chosen(company, known)
    if id is None:
        raise UsageError(
            f"{company!r} is none of your companies.", code="usage", details={"next_steps": ["naive use"]}
        )
    if id in host.companies:
        host.company_id = id
        config.write(session.config)
    else:
        _keep(session, session.client.auth.select_company(id))
    result = {"company_id": id, "company_name": known[id], "base_url": session.base_url}
    told = f"Speaking for {figures.line(known[id])}"
    return Answer(result, lambda terminal: terminal.done(told), ["naive status"], _told_of_environment())


@commands.command(app, "logout", action="logout")
def logout(
    session: Session,
    *,
    revoke: Annotated[bool, typer.Option("--revoke", help="Revoke the key in use as well.")] = False,
) -> Answer:
    """Forget the keys that are kept here for this platform."""
    base_url = session.base_url
    if revoke:
        own = session.client.auth.me().key
        if own is None:
            raise UsageError("What is in use is no key that could be revoked.", code="usage")
        session.client.keys.revoke(own.id)
    gone = session.config.forget(base_url)
    config.write(session.config)
    result = {"base_url": base_url, "companies": [one.name for one in gone], "revoked": revoke}
    told = f"Forgot {len(gone)} {'key' if len(gone) == 1 else 'keys'} of {base_url}"
    return Answer(result, lambda terminal: terminal.done(told), ["naive login"], _told_of_environment())


def _signed_in(session: Session, fields: params.LoginParams) -> types.LoggedIn:
    """Sign in; a second factor is asked for where it is needed and somebody can be asked."""
    try:
        return session.stranger.auth.login(**fields)
    except errors.AuthenticationError as exc:
        if exc.reason != "mfa_required" or "mfa_code" in fields or not session.terminal.can_ask:
            raise
    fields["mfa_code"] = _ask(session, "Code of your second factor", "--mfa-code")
    return session.stranger.auth.login(**fields)


def _keep(session: Session, found: Any) -> None:
    session.config.keep(
        base_url=session.base_url, company_id=found.company_id, name=found.company_name, api_key=found.api_key
    )
    config.write(session.config)


def _ask(session: Session, question: str, option: str) -> str:
    if not session.terminal.can_ask:
        raise UsageError(f"{question}? Nobody can be asked here.", code="usage", hint=f"Give {option}.")
    answer: str = typer.prompt(question, err=True)
    return answer


def _password(session: Session, *, is_piped: bool, is_new: bool = False) -> str:
    """Return a password that was typed without echo, or piped in. It never stands in a command line."""
    if is_piped:
        found = sys.stdin.readline().rstrip("\r\n")
    elif session.terminal.can_ask:
        # Not typer's prompt: that asks before it stops the terminal from showing what is typed.
        found = getpass.getpass("Password: ")
        if is_new and found != getpass.getpass("The same again: "):
            raise UsageError("The two passwords differ.", code="usage")
    else:
        raise UsageError(
            "Password? Nobody can be asked here.", code="usage", hint="Pipe it in, with --password-stdin."
        )
    if len(found) < PASSWORD_SHORTEST:
        raise UsageError(f"A password has at least {PASSWORD_SHORTEST} characters.", code="usage")
    return found


def _without_secret(found: Any) -> dict[str, Any]:
    """The answer without its key, which is kept and not shown."""
    result: dict[str, Any] = found.to_dict()
    return {
        **{name: value for name, value in result.items() if name != "api_key"},
        "config": str(config.path()),
    }


def _told_of_environment(*hints: str) -> list[str]:
    if os.environ.get("NAIVE_API_KEY"):
        return [*hints, "NAIVE_API_KEY is set, and wins over what is kept here."]
    return list(hints)


def _chosen(company: str, known: dict[str, str]) -> str | None:
    """Return the id of a company by its id or its name, where that is one company's alone."""
    if company in known:
        return company
    named = [id for id, name in known.items() if name.casefold() == company.casefold()]
    return named[0] if len(named) == 1 else None


def _companies(known: dict[str, str], chosen: str | None) -> Answer:
    rows = sorted(known.items(), key=lambda row: row[1].casefold())
    columns: list[Column[tuple[str, str]]] = [
        Column("", lambda row: "✓" if row[0] == chosen else ""),
        Column("company", lambda row: figures.line(row[1])),
        Column("id", lambda row: row[0], style="cyan"),
    ]
    result = {"companies": [{"id": id, "name": name, "in_use": id == chosen} for id, name in rows]}
    empty = "A company's own key opens that company alone; sign in to see yours."
    return Answer(result, lambda terminal: terminal.table(rows, columns, empty=empty), ["naive use COMPANY"])


def _where() -> str:
    return f"~/{config.NAME}"
