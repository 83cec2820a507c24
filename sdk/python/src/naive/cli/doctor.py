"""`naive doctor`: from this machine to a model, what works and what to do about the rest."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from naive import calls, errors, lazy
from naive.cli import advice, commands, config, exits, figures
from naive.cli.answers import Answer
from naive.cli.session import Session
from naive.cli.terminal import Terminal

if TYPE_CHECKING:
    import httpx
    from rich import text
else:
    httpx = lazy.module("httpx")
    text = lazy.module("rich.text")

app = commands.alone()

REACH_TIMEOUT_S = 5.0
SKEW_MAX_S = 60
MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "skipped": ("-", "dim")}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `state` is ok, warning, failed or skipped."""

    name: str
    state: str
    told: str
    next_step: str | None = None

    def to_dict(self) -> dict[str, str | None]:
        return {"name": self.name, "state": self.state, "told": self.told, "next_step": self.next_step}


@commands.command(app, "doctor", action="doctor")
def doctor(session: Session) -> Answer:
    """Find out what is amiss between this machine and a model, and what to do about it. Free."""
    with session.terminal.waiting("looking"):
        findings = list(_findings(session))
    steps = list(dict.fromkeys(one.next_step for one in findings if one.next_step))
    is_well = all(one.state != "failed" for one in findings)
    result = {"base_url": session.base_url, "healthy": is_well, "checks": [one.to_dict() for one in findings]}

    def show(terminal: Terminal) -> None:
        width = max(len(one.name) for one in findings)
        for one in findings:
            mark = MARKS[one.state]
            terminal.print(text.Text.assemble(mark, f" {one.name:<{width}}  ", (one.told, "dim")))

    return Answer(result, show, steps, exit_code=exits.OK if is_well else exits.ERROR)


def _findings(session: Session) -> Iterator[Finding]:
    yield Finding("version", "ok", calls.user_agent())
    yield _kept()
    try:
        answer = httpx.get(f"{session.base_url}/health", timeout=REACH_TIMEOUT_S)
    except httpx.HTTPError as exc:
        told = f"{session.base_url}: {exc or type(exc).__name__}"
        yield Finding("platform", "failed", told, "naive --base-url URL doctor")
        yield from (Finding(name, "skipped", "the platform cannot be reached") for name in ("clock", *CHECKS))
        return
    yield _platform(session, answer)
    yield _clock(answer, now=figures.now())
    for name, check in CHECKS.items():
        finding = _asked(name, check, session)
        yield finding
        if name == "key" and finding.state == "failed":
            yield from (
                Finding(other, "skipped", "needs a key that opens") for other in CHECKS if other != "key"
            )
            return


def _kept() -> Finding:
    """Whether the file can be read, and by nobody else."""
    path = config.path()
    try:
        config.read()
        if not path.exists():
            return Finding("config", "ok", f"{path}: none, so the environment alone counts")
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            return Finding("config", "warning", f"{path} can be read by others", f"chmod 600 {path}")
    except errors.ConfigurationError as exc:
        return Finding("config", "failed", exc.message, f"mv {path} {path}.broken")
    return Finding("config", "ok", str(path))


def _platform(session: Session, answer: httpx.Response) -> Finding:
    took = f"{answer.elapsed.total_seconds() * 1000:.0f} ms"
    if answer.is_success and "status" in answer.text:
        return Finding("platform", "ok", f"{session.base_url} in {took}")
    told = f"{session.base_url} answers {answer.status_code}, and not as Naive does"
    return Finding("platform", "failed", told, "naive --base-url URL doctor")


def _clock(answer: httpx.Response, *, now: datetime) -> Finding:
    """Whether both clocks agree: webhooks and ends of keys depend on it."""
    try:
        apart_s = abs(int((now - parsedate_to_datetime(answer.headers["date"])).total_seconds()))
    except (KeyError, TypeError, ValueError):
        return Finding("clock", "skipped", "the platform does not say what time it is")
    if apart_s > SKEW_MAX_S:
        return Finding("clock", "warning", f"{apart_s} s apart from the platform's: set this machine's")
    return Finding("clock", "ok", f"{apart_s} s apart from the platform's")


def _asked(name: str, check: Callable[[Session], Finding], session: Session) -> Finding:
    try:
        return check(session)
    except errors.NaiveError as exc:
        step = next((step for step in advice.steps(exc) if step != "naive doctor"), None)
        return Finding(name, "failed", figures.line(exc.message), step)


def _key(session: Session) -> Finding:
    found = session.client.auth.me()
    told = f"{figures.line(found.company.name)}, {found.role}"
    if found.company.status != "active":
        return Finding("key", "failed", f"{told}: the company is {found.company.status}")
    return Finding("key", "ok", told)


def _models(session: Session) -> Finding:
    count = session.client.llm.models().count
    if not count:
        return Finding("account kit", "failed", "it allows no model", "naive account-kits list")
    return Finding("account kit", "ok", f"{count} models may be called")


def _credits(session: Session) -> Finding:
    credits = session.client.status().credits
    if credits.is_frozen:
        return Finding("credits", "failed", "the wallet is frozen; the operator can thaw it")
    told = f"{figures.credits(credits.available)} available"
    if credits.available <= 0:
        return Finding("credits", "failed", told, "naive billing packs")
    return Finding("credits", "ok", told)


CHECKS: dict[str, Callable[[Session], Finding]] = {"key": _key, "account kit": _models, "credits": _credits}
