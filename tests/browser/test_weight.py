"""What a first visit costs: little comes over the wire, and what was painted once stays where it is."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Response

from tests import factories
from tests.browser.conftest import PHONE, WIDE, Visits
from tests.e2e.conftest import Platform

# Overview's HTML with every stylesheet and script, as they are served. Unit: kB.
WEIGHT_MAX = 150
KINDS = ("document", "stylesheet", "script")
# What a person does not notice; 0.1 is what browsers call good.
SHIFT_MAX = 0.01
# Watched from before the first paint; `recent` is by input, as on a click, and does not count.
WATCH = """
    window.shifts = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        if (!entry.hadRecentInput) {
          const moved = entry.sources.map((one) => one.node && (one.node.outerHTML || "").slice(0, 120));
          window.shifts.push([entry.value, moved]);
        }
      }
    }).observe({ type: "layout-shift", buffered: true });
"""
# Two frames after the page came to rest, so that whoever observes has been told.
SHIFTS = """
    () => new Promise((done) =>
      requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(window.shifts), 0))))
"""
# Shows what the observer would see if something came late.
PUSH = """
    () => new Promise((done) => {
      const late = document.createElement("div");
      late.style.height = "300px";
      document.querySelector("main").prepend(late);
      requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50)));
    })
"""
PAGES = {
    "overview": "/dashboard/",
    "generations": "/dashboard/generations/?range=30d",
    "kits": "/dashboard/kits/",
}


@pytest.fixture
def busy(clean: Platform, acme: factories.Cast) -> factories.Cast:
    """A company with a call in its tables and charts."""
    body = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
    assert clean.post(acme.secret, body).status_code == 200
    return acme


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_moves_once_it_was_painted(
    name: str, size: dict[str, int], visits: Visits, busy: factories.Cast
) -> None:
    visitor = visits(busy.owner, viewport=size)
    visitor.context.add_init_script(WATCH)
    page = visitor.go(PAGES[name])
    found = page.evaluate(SHIFTS)
    assert sum(value for value, _ in found) <= SHIFT_MAX, found


def test_something_that_comes_late_would_be_noticed(visits: Visits, busy: factories.Cast) -> None:
    visitor = visits(busy.owner)
    visitor.context.add_init_script(WATCH)
    page = visitor.go(PAGES["overview"])
    page.evaluate(PUSH)
    assert sum(value for value, _ in page.evaluate(SHIFTS)) > SHIFT_MAX


def test_first_visit_of_overview_is_light(visits: Visits, busy: factories.Cast) -> None:
    visitor = visits(busy.owner)
    answers: list[Response] = []
    visitor.page.on("response", lambda one: answers.append(one))
    visitor.go(PAGES["overview"])
    sizes = {_path(one): _bytes(one) for one in answers if one.request.resource_type in KINDS}
    assert {path.rpartition(".")[2] for path in sizes} >= {"css", "js"}
    assert sum(sizes.values()) <= WEIGHT_MAX * 1000, sizes
    heavy = [path for path, size in sizes.items() if size > 1000]
    assert [path for path in heavy if not _is_compressed(answers, path)] == []


def test_second_visit_takes_its_files_from_the_cache(visits: Visits, busy: factories.Cast) -> None:
    visitor = visits(busy.owner)
    visitor.go(PAGES["overview"])
    assert _asked_again(visitor.page) >= 5


def _asked_again(page: Page) -> int:
    """How many files a second look at the page has without asking for their bytes."""
    page.reload()
    page.wait_for_load_state("networkidle")
    return int(
        page.evaluate(
            "performance.getEntriesByType('resource')"
            ".filter((one) => one.transferSize < 400 && /static/.test(one.name)).length"
        )
    )


def _path(answer: Response) -> str:
    return urlsplit(answer.url).path


def _bytes(answer: Response) -> int:
    return answer.request.sizes()["responseBodySize"]


def _is_compressed(answers: list[Response], path: str) -> bool:
    return any(
        one.header_value("content-encoding") in ("gzip", "br", "zstd")
        for one in answers
        if _path(one) == path
    )
