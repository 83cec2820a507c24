"""Every page, before its journeys: nobody is kept out by it, nothing breaks on the side, in the light and in the dark,
on a phone, and without a script; with things on it, and empty."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Browser, expect

from accounts import invitations
from naive_platform.dashboard import navigation
from naive_platform.exports import files
from tests import factories, webhooks
from tests.browser import conftest, sights
from tests.browser.conftest import PHONE, WIDE, Visitor, Visits
from tests.browser.sights import Sight
from tests.e2e.conftest import Platform, eventually

MODELS = ("anthropic/claude-sonnet-4.6", "openai/gpt-4o-mini", "google/gemini-2.5-flash")
# What another look of the same page can break.
LOOKS = ("color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size")
EMPTY = [entry.name for entry in navigation.ENTRIES]


@dataclass(frozen=True, slots=True)
class Lived:
    """A company with a little of everything, and where each thing is (sights.FOUND)."""

    member: factories.Cast
    things: dict[str, str]


@pytest.fixture(scope="module")
def lived(platform: Platform, browser: Browser) -> Iterator[Lived]:
    """Looked at by many tests and changed by none."""
    member = factories.acme()
    with webhooks.receiving() as receiver:
        furnish(platform, member, hook=receiver.url)
        visitor = conftest.visitor(platform, browser, member.owner)
        found = sights.things(visitor.context.request, platform.url)
        visitor.context.close()
        yield Lived(member=member, things=found)


def furnish(platform: Platform, member: factories.Cast, *, hook: str) -> None:
    now = timezone.now()

    def ask(path: str, body: object) -> dict[str, object]:
        answer = platform.post(member.secret, body, path=f"/v1/{path}")
        assert answer.is_success, answer.text
        return dict(answer.json())

    config = {"llm": {"enabled": True, "defaults": {"max_tokens": 256, "denied_models": ["*:free"]}}}
    kit = ask("account-kits", {"name": "Pro", "primitives_config": config, "prompt_retention_days": 7})
    user = ask("users", {"external_id": "cus_1", "label": "Mara <Lindqvist>", "account_kit_id": kit["id"]})
    for model in MODELS:
        body = {"model": model, "messages": [{"role": "user", "content": "Write a haiku about Paris."}]}
        ask(f"users/{user['id']}/llm/chat/completions", body)
    ask(f"users/{user['id']}/sessions", {})
    ask("auth/keys", {"name": "Capped", "role": "member", "cap_credits": 5, "cap_period": "month"})
    endpoint = ask("webhooks", {"url": hook, "events": ["key.created"]})
    ask(f"webhooks/{endpoint['id']}/test", {})
    factories.give(member, credits=Decimal(7))
    invitations.invite(
        company_id=member.company_id,
        email="grace@example.org",
        role="viewer",
        invited_by_id=member.owner.id,
        now=now,
    )
    export = files.ask(
        company_id=member.company_id, kind="generations", query={}, person_id=member.owner.id, now=now
    )
    eventually(
        lambda: files.get(company_id=member.company_id, export_id=export.id).is_over,
        what="the file is written",
    )


# One visitor goes through all pages: what a browser keeps of the first ones makes the others quick.


@pytest.fixture(scope="module")
def reader(platform: Platform, browser: Browser, lived: Lived) -> Iterator[Visitor]:
    found = conftest.visitor(platform, browser, lived.member.owner)
    yield found
    found.context.close()


@pytest.fixture(scope="module")
def scriptless(platform: Platform, browser: Browser, lived: Lived) -> Iterator[Visitor]:
    found = conftest.visitor(platform, browser, lived.member.owner, java_script_enabled=False)
    yield found
    found.context.close()


@pytest.mark.parametrize("sight", sights.DASHBOARD, ids=lambda sight: sight.name)
def test_page_keeps_nobody_out(sight: Sight, reader: Visitor, lived: Lived) -> None:
    reader.faults.clear()
    reader.page.emulate_media(color_scheme="light")
    reader.page.set_viewport_size(WIDE)
    page = reader.go(sight.path(lived.things))
    assert page.locator("h1").count() == 1
    assert reader.grave() == []
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(PHONE)
    assert reader.overflow_px() <= 0
    assert reader.grave(LOOKS) == []
    assert reader.faults == []


@pytest.mark.parametrize("sight", sights.DASHBOARD, ids=lambda sight: sight.name)
def test_page_is_there_without_a_script(sight: Sight, scriptless: Visitor, lived: Lived) -> None:
    scriptless.faults.clear()
    page = scriptless.go(sight.path(lived.things))
    assert page.locator("h1").count() == 1
    assert page.get_by_role("navigation", name="Dashboard").locator("a[aria-current=page]").count() == 1
    # What only a script can do is not offered.
    assert page.locator(".needs-script").locator("visible=true").count() == 0
    assert scriptless.faults == []


@pytest.fixture(scope="module")
def founder(platform: Platform, browser: Browser) -> Iterator[Visitor]:
    """Somebody whose company has done nothing yet."""
    found = conftest.visitor(platform, browser, factories.acme().owner)
    yield found
    found.context.close()


@pytest.mark.parametrize("name", EMPTY)
def test_empty_page_keeps_nobody_out(name: str, founder: Visitor) -> None:
    founder.faults.clear()
    page = founder.go(reverse(f"dashboard-{name}"))
    assert page.locator("h1").count() == 1
    assert founder.grave() == []
    assert founder.faults == []


def test_drawer_keeps_nobody_out(visits: Visits, lived: Lived) -> None:
    visitor = visits(lived.member.owner)
    page = visitor.go("/dashboard/generations/")
    link = page.locator("#calls tbody a").first
    link.click()
    drawer = page.locator("#drawer[open]")
    expect(drawer.get_by_text("Charged")).to_be_visible()
    assert visitor.grave() == []
    page.keyboard.press("Escape")
    expect(link).to_be_focused()


# Page, what is written and chosen there, the button, and what the page says afterwards.
FORMS = (
    ("/dashboard/kits/new/", {"Name": "Trial"}, "Create the kit", "Trial"),
    ("/dashboard/users/new/", {"External id": "cus_2"}, "Create the user", "cus_2"),
    ("/dashboard/keys/new/", {"Name": "Backend"}, "Create the key", "It is shown only here."),
    (
        "/dashboard/team/invite/",
        {"E-mail address": "ada@example.org"},
        "Invite",
        "ada@example.org is invited",
    ),
    (
        "/dashboard/webhooks/new/",
        {"URL": "https://93.184.215.14/hook"},
        "Add the webhook",
        "It is shown only here.",
    ),
    ("/dashboard/settings/", {"Your name": "Ada Moreno"}, "Save your name", "Your name is saved."),
)


@pytest.mark.parametrize(("path", "fields", "button", "said"), FORMS, ids=lambda value: str(value)[:30])
def test_form_is_sent_without_a_script(
    path: str, fields: dict[str, str], button: str, said: str, visits: Visits, acme: factories.Cast
) -> None:
    page = visits(acme.owner, java_script_enabled=False).go(path)
    for label, text in fields.items():
        page.get_by_label(label, exact=False).first.fill(text)
    page.get_by_role("button", name=button).click()
    expect(page.locator("body")).to_contain_text(said)


def test_kit_is_switched_without_a_script(visits: Visits, acme: factories.Cast) -> None:
    page = visits(acme.owner, java_script_enabled=False).go(f"/dashboard/kits/{acme.kit.id}/")
    page.get_by_role("switch").uncheck()
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Switch llm off").click()
    expect(page.get_by_role("switch")).not_to_be_checked()
    expect(page.locator("body")).to_contain_text("llm is off in Default")


def test_filters_are_chosen_without_a_script(visits: Visits, lived: Lived) -> None:
    page = visits(lived.member.owner, java_script_enabled=False).go("/dashboard/generations/")
    page.get_by_label("Model").fill(MODELS[1])
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#calls tbody tr")).to_have_count(1)
    page.get_by_role("link", name=MODELS[1]).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Generation")


def test_page_is_found_by_the_keyboard_alone(visits: Visits, acme: factories.Cast) -> None:
    page = visits(acme.owner).go("/dashboard/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.keyboard.press("Control+k")
    page.keyboard.type("audit")
    page.keyboard.press("Enter")
    page.wait_for_url("**/dashboard/audit/")


def test_choice_of_colours_is_kept(visits: Visits, acme: factories.Cast) -> None:
    visitor = visits(acme.owner, color_scheme="light")
    page = visitor.go("/dashboard/")
    page.locator(".person > summary").click()
    page.get_by_role("button", name="Dark").click()
    page.wait_for_load_state()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    visitor.go("/dashboard/kits/")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
