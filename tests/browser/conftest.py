"""A real browser before a running platform. Whatever a page does wrong on the side fails its test: an error in the
console, a breach of the content policy, a request to anybody else."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.db import connections
from django.test import Client
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Playwright,
    Request,
    ViewportSize,
    sync_playwright,
)

from accounts.models import User
from tests.e2e.conftest import Platform, acme, clean, platform, upstream

__all__ = ["acme", "clean", "platform", "upstream"]  # Fixtures.

CHROMIUM = "/usr/bin/chromium"
WIDE: ViewportSize = {"width": 1280, "height": 850}
PHONE: ViewportSize = {"width": 360, "height": 780}
# What axe finds of these fails; the rest is advice.
GRAVE = ("serious", "critical")
SETTLED = "Promise.allSettled(document.getAnimations().map((one) => one.finished)).then(() => null)"


@pytest.fixture(scope="module", autouse=True)
def _database_beside_the_browser() -> Iterator[None]:
    """Playwright keeps an event loop on this thread, and Django would refuse to ask the database beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Ended with its file: the loop it keeps running on this thread would be in the way of every test after it.

    Beside a running loop Django keeps connections of their own, which every coroutine of later tests would inherit.
    """
    with sync_playwright() as found:
        yield found
        for inherited in connections.all(initialized_only=True):
            inherited.close()
            del connections[inherited.alias]


@pytest.fixture(scope="module")
def browser(playwright: Playwright, browser_type_launch_args: dict[str, Any]) -> Iterator[Browser]:
    launched = playwright.chromium.launch(
        **{**browser_type_launch_args, "executable_path": CHROMIUM, "args": ["--no-sandbox"]}
    )
    yield launched
    launched.close()


@dataclass
class Visitor:
    """A person in front of a browser, signed in or not; `faults` is what went wrong beside the pages."""

    platform: Platform
    context: BrowserContext
    page: Page
    faults: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", lambda said: self._note(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on("request", self._require_ours)

    def go(self, path: str, *, status: int = 200) -> Page:
        """Open an address of the platform; it has loaded, scripts included."""
        answer = self.page.goto(f"{self.platform.url}{path}")
        assert answer is not None
        assert answer.status == status, f"{path}: {answer.status}"
        return self.page

    def expect_refusal(self, status: int) -> None:
        """Chromium writes every answer of 400 and above into the console: this one was wanted."""
        self.faults = [fault for fault in self.faults if f"status of {status}" not in fault]

    def grave(self, rules: tuple[str, ...] = ()) -> list[str]:
        """What axe finds on this page that keeps somebody out, by these of its rules or by all."""
        # Colours on their way to others are not what anybody reads.
        self.page.evaluate(SETTLED)
        options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
        found = Axe().run(self.page, options=options).response["violations"]
        return [
            f"{one['impact']} {one['id']}: {[node['html'][:160] for node in one['nodes']][:3]}"
            for one in found
            if one["impact"] in GRAVE
        ]

    def overflow_px(self) -> int:
        """How far the page can be pushed sideways, which it should not."""
        return int(
            self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        )

    def _note(self, fault: str) -> None:
        self.faults.append(fault[:300])

    def _require_ours(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.platform.url).netloc and not request.url.startswith(
            ("blob:", "data:")
        ):
            self._note(f"asked {request.url}")


type Visits = Callable[..., Visitor]


@pytest.fixture
def visits(platform: Platform, browser: Browser) -> Iterator[Visits]:
    """Makes visitors: `visits(acme.owner)`, with playwright's options of a context; their faults fail the test."""
    made: list[Visitor] = []

    def visit(person: User | None = None, **options: Any) -> Visitor:
        made.append(visitor(platform, browser, person, **options))
        return made[-1]

    yield visit
    for one in made:
        one.context.close()
    assert [fault for one in made for fault in one.faults] == []


def visitor(platform: Platform, browser: Browser, person: User | None, **options: Any) -> Visitor:
    """Whoever makes one closes its context, and looks at its faults."""
    context = browser.new_context(**({"viewport": WIDE} | options))
    if person is not None:
        context.add_cookies([session_cookie(platform, person)])
    found = Visitor(platform=platform, context=context, page=context.new_page())
    found.watch()
    return found


def session_cookie(platform: Platform, person: User) -> Any:
    """A session as signing in makes it."""
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    value = client.cookies[settings.SESSION_COOKIE_NAME].value
    return {"name": settings.SESSION_COOKIE_NAME, "value": value, "url": platform.url}
