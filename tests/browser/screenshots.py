"""`make screenshots`: every page in the light, in the dark and on a phone, of a platform with `make run`'s demo data.

    python -m tests.browser.screenshots [NAME]… [--into FOLDER]

The names of pages are those of sights.py and of SCENES here; without one, all are taken and what else lies in the
folder is removed.
"""

import argparse
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser import sights

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/screenshots"
CHROMIUM = "/usr/bin/chromium"
STOP_S = 60.0
# How each page is seen; what is longer than this is cut.
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 850}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 850}},
    "phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 780}, "is_mobile": True},
}
HEIGHT_MAX_PX = 1800
CALL = {
    "model": "anthropic/claude-sonnet-4.6",
    "messages": [{"role": "user", "content": "Write a haiku about Paris."}],
}


@dataclass(frozen=True, slots=True)
class Running:
    """A platform with demo data, and who may look at it."""

    url: str
    api_key: str
    demo: dict[str, str]
    operator: dict[str, str]


def main(argv: list[str] | None = None) -> int:
    options = _options(argv)
    names = set(options.names)
    options.into.mkdir(parents=True, exist_ok=True)
    with receiving() as hook, running() as platform:
        live(platform, hook=hook)
        taken = take(platform, into=options.into, names=names)
    if not names:
        for file in set(options.into.glob("*.webp")) - set(taken):
            file.unlink()
    size_kb = sum(file.stat().st_size for file in taken) // 1000
    sys.stdout.write(f"{len(taken)} pictures, {size_kb} kB, in {options.into}\n")
    return 0


@contextlib.contextmanager
def running() -> Iterator[Running]:
    """A platform of its own, as `make run` starts it, for this while."""
    environ = {**os.environ, "DEBUG": "1", "WEBHOOK_ALLOW_PRIVATE": "1"}
    with tempfile.TemporaryDirectory(prefix="naive-screenshots-") as folder:
        command = [sys.executable, "manage.py", "up", "--json", "--port", "0", "--data-dir", folder]
        with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                told = json.loads(process.stdout.readline())
                yield Running(**{name: told[name] for name in ("url", "api_key", "demo", "operator")})
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=STOP_S)


class _Receiver(BaseHTTPRequestHandler):
    """Whoever is told by a webhook, and content with it."""

    def do_POST(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@contextlib.contextmanager
def receiving() -> Iterator[str]:
    """An address for a webhook, for this while."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/naive"
        server.shutdown()


def live(platform: Running, *, hook: str) -> None:
    """What the seed leaves out: a webhook that was told something, and a call whose prompt is stored."""
    headers = {"Authorization": f"Bearer {platform.api_key}"}
    with httpx.Client(base_url=f"{platform.url}/v1/", headers=headers, timeout=60) as client:

        def ask(method: str, path: str, **more: Any) -> Any:
            return client.request(method, path, **more).raise_for_status().json()

        told = {"url": hook, "events": ["credits.low", "credits.exhausted"], "description": "Finance"}
        endpoint = ask("POST", "webhooks", json=told)
        ask("POST", f"webhooks/{endpoint['id']}/test", json={})
        kit = next(kit for kit in ask("GET", "account-kits")["account_kits"] if kit["name"] == "Pro")
        ask("PATCH", f"account-kits/{kit['id']}", json={"prompt_retention_days": 30})
        user = next(user for user in ask("GET", "users")["users"] if user["external_id"] == "cus_1001")
        ask("POST", f"users/{user['id']}/llm/chat/completions", json=CALL)


def take(platform: Running, *, into: Path, names: set[str]) -> list[Path]:
    """Pictures of these pages, or of all; returns their files."""
    taken: list[Path] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        album = _Album(platform, browser, into=into, names=names)
        for look in LOOKS:
            taken += album.fill(look)
        browser.close()
    return taken


class _Album:
    """One folder of pictures; what stands in addresses is found once."""

    def __init__(self, platform: Running, browser: Browser, *, into: Path, names: set[str]) -> None:
        self._platform, self._browser, self._into, self._names = platform, browser, into, names
        self._person: dict[str, str] = {}
        self._things: dict[str, str] = {}
        self._is_furnished = False

    def fill(self, look: str) -> list[Path]:
        """Every page in one look, by whoever may see it."""
        taken = []
        for person, seen, found in (
            (None, sights.ENTRANCE, {}),
            (self._platform.demo, (*sights.DASHBOARD, *sights.OWN), sights.FOUND),
            (self._platform.operator, sights.OPERATOR, sights.OPERATORS_FOUND),
        ):
            context = self._browser.new_context(**LOOKS[look])
            page = context.new_page()
            self._person = person or {}
            if person:
                self._enter(page)
            if person is self._platform.demo and not self._is_furnished:
                self._furnish(page)
            if missing := {name: where for name, where in found.items() if name not in self._things}:
                self._things |= sights.things(context.request, self._platform.url, of=missing)
            for sight in seen:
                if self._is_wanted(sight.name):
                    self._go(page, sight.path(self._things))
                    taken.append(self._keep(page, f"{sight.name}-{look}"))
            if person is self._platform.demo:
                taken += self._scenes(page, look)
            context.close()
        return taken

    def _scenes(self, page: Page, look: str) -> list[Path]:
        taken = []
        for name, (address, act) in SCENES.items():
            if self._is_wanted(name):
                self._go(page, address.format(**self._things))
                act(page)
                taken.append(self._keep(page, f"{name}-{look}", is_whole=False))
        return taken

    def _is_wanted(self, name: str) -> bool:
        return not self._names or name in self._names

    def _enter(self, page: Page) -> None:
        self._go(page, "/accounts/login/")
        page.get_by_label("E-mail").fill(self._person["email"])
        page.get_by_label("Password").fill(self._person["password"])
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_url("**/dashboard/**")

    def _furnish(self, page: Page) -> None:
        """What only pages do: an invitation, and a file that a worker writes."""
        self._is_furnished = True
        self._go(page, "/dashboard/team/invite/")
        page.get_by_label("E-mail").fill("grace@acme.test")
        page.get_by_role("button", name="Invite").click()
        page.wait_for_load_state()
        self._go(page, "/dashboard/exports/?kind=generations&range=30d")
        page.get_by_role("button", name="Write the file").click()
        expect(page.get_by_role("link", name="Download")).to_be_visible(timeout=30_000)

    def _go(self, page: Page, path: str) -> None:
        answer = page.goto(f"{self._platform.url}{path}")
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"
        if "/reauthenticate/" in page.url:
            page.get_by_label("Password").fill(self._person["password"])
            page.get_by_role("button", name="Go on").click()
            page.wait_for_url(f"**{path}")
        page.wait_for_load_state("networkidle")

    def _keep(self, page: Page, name: str, *, is_whole: bool = True) -> Path:
        file, usual = self._into / f"{name}.webp", page.viewport_size
        assert usual is not None
        if is_whole:
            # A window as high as the page, rather than a page beyond its window: what stands at an edge stays there.
            height = int(page.evaluate("document.documentElement.scrollHeight"))
            page.set_viewport_size({**usual, "height": min(max(height, usual["height"]), HEIGHT_MAX_PX)})
            page.wait_for_load_state("networkidle")
        seen = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
        seen.save(file, lossless=True, method=6)
        page.set_viewport_size(usual)
        return file


def _converse(page: Page) -> None:
    page.get_by_label("Message").fill("Write a haiku about Paris.")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("link", name="Details")).to_be_visible()


def _open_drawer(page: Page) -> None:
    page.locator("table tbody tr a").first.click()
    expect(page.locator("#drawer[open]")).to_be_visible()


def _switch_off(page: Page) -> None:
    page.get_by_role("switch").click()
    expect(page.locator("#kit-dialog[open]")).to_be_visible()


def _open_palette(page: Page) -> None:
    page.keyboard.press("Control+k")
    page.keyboard.type("a")
    expect(page.locator("#palette[open]")).to_be_visible()


# What is not there before somebody did something.
SCENES: dict[str, tuple[str, Callable[[Page], None]]] = {
    "scene-answer": ("/dashboard/playground/", _converse),
    "scene-drawer": ("/dashboard/generations/?range=30d", _open_drawer),
    "scene-switch": ("{kit}", _switch_off),
    "scene-palette": ("/dashboard/", _open_palette),
}


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="FOLDER")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
