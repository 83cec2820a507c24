"""What a company's people do, in a real browser: whatever a page says happened is looked for where it matters, in an
answer of the API, in the books, in the audit log."""

import csv
import os
import re
import subprocess
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from accounts import companies
from accounts.models import AccountKit, Membership, User
from tests import factories, webhooks
from tests.browser.conftest import Visitor, Visits
from tests.e2e.conftest import Platform, eventually

pytestmark = pytest.mark.usefixtures("clean")

MODEL = "anthropic/claude-sonnet-4.6"
OTHER = "openai/gpt-4o-mini"
CLIPBOARD = ["clipboard-read", "clipboard-write"]


def ask(platform: Platform, key: str | None, model: str = MODEL) -> httpx.Response:
    return platform.post(key, {"model": model, "messages": [{"role": "user", "content": "Hello"}]})


def copied(page: Page, button: Locator) -> str:
    """What a press of the button leaves in the clipboard."""
    button.click()
    expect(page.locator(".toast").last).to_contain_text("Copied.")
    return str(page.evaluate("navigator.clipboard.readText()"))


def shell(command: str, **environ: str) -> str:
    """What this command writes, as somebody's terminal would run it."""
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def amount(box: Locator) -> Decimal:
    """A sum of money on a page, to the last digit."""
    return Decimal(box.locator("data.amount").first.get_attribute("value") or "")


def balance(visitor: Visitor) -> Decimal:
    page = visitor.go("/dashboard/")
    return amount(page.locator(".figures > div").filter(has=page.get_by_text("Balance", exact=True)))


def member(company: factories.Cast, role: str) -> User:
    """Somebody else in the company."""
    now = timezone.now()
    email = f"{role}-{company.company_id.hex[-12:]}@acme.example"
    person = User.objects.create_user(email, None, name="Finn", created_at=now, email_verified_at=now)
    companies.add_member(company_id=company.company_id, user_id=person.id, role=role, now=now)
    return person


def kit_page(acme: factories.Cast, tab: str = "") -> str:
    return f"/dashboard/kits/{acme.kit.id}/{tab}"


# From nothing to the first call


def test_first_call_is_made_with_what_the_pages_print(visits: Visits) -> None:
    visitor = visits(permissions=CLIPBOARD)
    page = visitor.go("/accounts/signup/")
    page.get_by_label("Your name").fill("Ada Moreno")
    page.get_by_label("E-mail address").fill(f"ada-{os.urandom(6).hex()}@acme.example")
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_label("Company").fill("Acme of the browser")
    page.locator("main button[type=submit]").click()
    key = copied(page, page.get_by_role("button", name="Copy the line with the key"))
    command = copied(page, page.get_by_role("button", name="Copy the call"))
    assert visitor.grave() == []
    page.get_by_role("link", name="I have copied it").click()
    before = balance(visitor)

    told = shell(f"{key}\n{command}")
    charged = Decimal(re.findall(r'"?credits_used"?[:=] ?([0-9.e-]+)', told)[-1])

    assert charged > 0
    page = visitor.go("/dashboard/generations/")
    row = page.locator("#calls tbody tr")
    expect(row).to_have_count(1)
    assert amount(row.locator("[data-title=Credits]")) == charged
    assert balance(visitor) == before - charged


# The switch


def test_switch_of_a_kit_acts_on_the_next_call(visits: Visits, clean: Platform, acme: factories.Cast) -> None:
    assert ask(clean, acme.secret).status_code == 200
    visitor = visits(acme.owner)
    page = visitor.go("/dashboard/")
    page.get_by_role("navigation", name="Dashboard").get_by_role("link", name="Account Kits").click()
    page.get_by_role("link", name="Default", exact=True).click()
    governed = page.locator("#kit-llm .figures > div")
    expect(governed.filter(has_text="Users it touches").locator("dd").first).to_have_text("1")
    expect(governed.filter(has_text="Calls, last day").locator("dd").first).to_have_text("1")

    page.get_by_role("switch").click()
    dialog = page.get_by_role("dialog", name="Before it is saved")
    expect(dialog.locator("tbody tr")).to_have_text(
        re.compile(r"primitives_config\.llm\.enabled\s*—\s*false")
    )
    assert visitor.grave() == []
    dialog.get_by_role("button", name="Switch llm off").click()
    expect(
        page.get_by_text("llm is off in Default: from the next call on its users are refused.")
    ).to_be_visible()

    eventually(lambda: ask(clean, acme.secret).status_code == 403, what="the switch acts")
    assert "Default" in ask(clean, acme.secret).json()["error"]["message"]
    page.get_by_role("switch").click()
    expect(page.get_by_text("llm is on in Default")).to_be_visible()
    eventually(lambda: ask(clean, acme.secret).status_code == 200, what="the switch acts again")

    page.get_by_role("navigation", name="Dashboard").get_by_role("link", name="Audit log").click()
    changes = page.locator("tbody tr").filter(has_text="account_kit.updated")
    expect(changes).to_have_count(2)
    changes.last.get_by_role("link").first.click()
    entry = page.locator("#drawer[open]")
    expect(entry.get_by_role("table", name="What changed")).to_contain_text("llm.enabled")
    expect(entry).to_contain_text(acme.owner.email)


def test_switch_is_moved_by_the_keyboard_alone(visits: Visits, clean: Platform, acme: factories.Cast) -> None:
    page = visits(acme.owner).go(kit_page(acme))

    def tab_to(what: Locator) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            if what.evaluate("element => element === document.activeElement"):
                return
        raise AssertionError("the keyboard never came there")

    switch = page.get_by_role("switch")
    tab_to(switch)
    page.keyboard.press("Space")
    dialog = page.locator("#kit-dialog[open]")
    tab_to(dialog.get_by_role("button", name="Switch llm off"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("llm is off", exact=True)).to_be_visible()
    expect(switch).to_be_focused()
    eventually(lambda: ask(clean, acme.secret).status_code == 403, what="the switch acts")
    page.keyboard.press("Space")
    expect(page.get_by_text("llm is on", exact=True)).to_be_visible()


def test_switch_without_an_answer_moves_back(visits: Visits, acme: factories.Cast) -> None:
    page = visits(acme.owner).go(kit_page(acme))
    page.get_by_role("switch").click()
    expect(page.locator("#kit-dialog[open]")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("switch")).to_be_checked()
    acme.kit.refresh_from_db()
    assert acme.kit.version == 1


def test_switch_that_cannot_be_saved_moves_back_and_says_why(visits: Visits, acme: factories.Cast) -> None:
    person = member(acme, "admin")
    visitor = visits(person)
    page = visitor.go(kit_page(acme))
    Membership.objects.filter(user=person).update(role="viewer")
    page.get_by_role("switch").click()
    expect(page.locator(".toast")).to_contain_text("This takes the role admin")
    expect(page.get_by_role("switch")).to_be_checked()
    visitor.expect_refusal(403)


# The editor


def test_model_is_denied_by_a_glob(visits: Visits, clean: Platform, acme: factories.Cast) -> None:
    page = visits(acme.owner).go(kit_page(acme, "models/"))
    count = page.locator("#kit-matches").get_by_role("status")
    before = count.text_content() or ""
    page.get_by_label("Denied").fill("openai/*")
    expect(count).not_to_have_text(before)
    expect(page.locator("#kit-matches")).not_to_contain_text("openai/")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Default")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".toast")).to_contain_text("Default is saved")

    eventually(lambda: ask(clean, acme.secret, OTHER).status_code == 403, what="the glob acts")
    assert ask(clean, acme.secret, MODEL).status_code == 200


def test_second_of_two_editors_loses_nothing(visits: Visits, acme: factories.Cast) -> None:
    first, second = visits(acme.owner), visits(member(acme, "admin"))
    mine, theirs = first.go(kit_page(acme, "limits/")), second.go(kit_page(acme, "limits/"))
    mine.get_by_label("Output tokens per call").fill("500")
    save(mine)

    theirs.get_by_label("Requests per minute and user").fill("30")
    theirs.get_by_role("button", name="Save").click()
    expect(theirs.get_by_role("alert")).to_contain_text("Nothing was saved.")
    second.expect_refusal(412)
    expect(theirs.locator("main")).to_contain_text(acme.owner.email)
    assert second.grave() == []
    theirs.get_by_role("button", name="Make my change to version 2").click()
    theirs.get_by_role("button", name="Save").click()
    expect(theirs.locator(".toast")).to_contain_text("Default is saved")

    kit = AccountKit.objects.get(id=acme.kit.id)
    defaults = kit.primitives_config["llm"]["defaults"]
    assert (defaults["max_tokens"], defaults["requests_per_minute"]) == (500, 30)


def save(page: Page) -> None:
    """Save a change that closes something: on its page, and on the one that asks."""
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("table")).to_contain_text("primitives_config")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".toast")).to_contain_text("Default is saved")


# Keys


def test_key_is_created_rotated_and_revoked(visits: Visits, clean: Platform, acme: factories.Cast) -> None:
    visitor = visits(acme.owner, permissions=CLIPBOARD)
    page = visitor.go("/dashboard/keys/")
    page.get_by_role("link", name="Create a key").click()
    page.get_by_label("Name").fill("Backend")
    page.get_by_role("button", name="Create the key").click()
    secret = copied(page, page.get_by_role("button", name="Copy the secret"))
    assert visitor.grave() == []
    assert ask(clean, secret).status_code == 200
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Backend").click()
    assert secret not in page.content()

    page.get_by_role("link", name="Rotate").click()
    page.get_by_label("The old key works on for, hours").fill("1")
    page.get_by_role("button", name="Rotate the key").click()
    successor = copied(page, page.get_by_role("button", name="Copy the secret"))
    assert [ask(clean, one).status_code for one in (secret, successor)] == [200, 200]

    page.get_by_role("link", name="I have copied it").click()
    page.locator("tbody tr").filter(has_text=successor[-4:]).get_by_role("link", name="Backend").click()
    page.get_by_role("link", name="Revoke").click()
    assert ask(clean, successor).status_code == 200
    page.get_by_role("button", name="Revoke the key").click()
    expect(page.locator(".toast")).to_be_visible()
    eventually(lambda: ask(clean, successor).status_code == 401, what="the key is refused")


# The playground


def test_playground_answers_and_gives_the_call_away(
    visits: Visits, clean: Platform, acme: factories.Cast
) -> None:
    visitor = visits(acme.owner, permissions=CLIPBOARD)
    before = balance(visitor)
    page = visitor.go("/dashboard/playground/")
    page.get_by_label("Message").fill("Write a haiku about Paris.")
    page.get_by_role("button", name="Send").click()
    answer = page.locator(".turn.is-assistant")
    expect(answer.get_by_role("link", name="Details")).to_be_visible()
    expect(answer.locator(".turn-text")).not_to_be_empty()
    credits = Decimal((answer.locator("p.soft").text_content() or "").partition(" credits")[0])
    assert visitor.grave() == []
    page.get_by_role("button", name="Copy as code").click()
    command = copied(page, page.get_by_role("button", name="Copy the code"))
    assert "data: [DONE]" in shell(command, NAIVE_API_KEY=acme.secret)
    page.keyboard.press("Escape")
    answer.get_by_role("link", name="Details").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Generation")

    rows = visitor.go("/dashboard/generations/").locator("#calls tbody tr")
    expect(rows).to_have_count(2)
    assert amount(rows.last.locator("[data-title=Credits]")) == credits
    assert balance(visitor) == before - 2 * credits


# Who may not


def test_viewer_is_offered_nothing_and_refused_the_rest(visits: Visits, acme: factories.Cast) -> None:
    visitor = visits(member(acme, "viewer"))
    page = visitor.go("/dashboard/keys/")
    expect(page.get_by_role("link", name="Create a key")).to_have_count(0)
    expect(visitor.go("/dashboard/kits/").get_by_role("link", name="Create a kit")).to_have_count(0)
    expect(visitor.go("/dashboard/team/").get_by_role("link", name="Invite")).to_have_count(0)
    expect(page.get_by_role("link", name="Webhooks")).to_have_count(0)
    visitor.go(kit_page(acme))
    expect(page.get_by_role("switch")).to_be_disabled()

    token = page.locator("input[name=csrfmiddlewaretoken]").first.get_attribute("value") or ""
    form: dict[str, str | float | bool] = {"csrfmiddlewaretoken": token, "version": "1"}
    for path in (kit_page(acme), "/dashboard/kits/new/", "/dashboard/keys/new/", "/dashboard/team/invite/"):
        answer = page.request.post(f"{visitor.platform.url}{path}", form=form, headers={"Referer": page.url})
        assert answer.status == 403, path
        assert "viewer" in answer.text(), path
    acme.kit.refresh_from_db()
    assert acme.kit.version == 1


def test_invitation_is_accepted(visits: Visits, acme: factories.Cast) -> None:
    page = visits(acme.owner).go("/dashboard/team/")
    page.get_by_role("link", name="Invite").first.click()
    email = f"grace-{os.urandom(6).hex()}@acme.example"
    page.get_by_label("E-mail address").fill(email)
    page.get_by_role("button", name="Invite").click()
    link = page.get_by_label("the link", exact=True).text_content() or ""

    guest = visits()
    page = guest.go(link.removeprefix(guest.platform.url))
    assert guest.grave() == []
    page.get_by_role("link", name="Create an account").click()
    page.get_by_label("Your name").fill("Grace")
    expect(page.get_by_label("E-mail address")).to_have_value(email)
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.locator("main button[type=submit]").click()
    page.get_by_role("button", name="Accept the invitation").click()
    expect(page.locator(".sidebar")).to_contain_text(acme.company.name)
    assert Membership.objects.filter(company_id=acme.company_id, user__email=email).exists()


# What is taken away, and what is told


def test_webhook_is_added_and_hears_a_test(visits: Visits, acme: factories.Cast) -> None:
    with webhooks.receiving() as receiver:
        page = visits(acme.owner, permissions=CLIPBOARD).go("/dashboard/webhooks/new/")
        page.get_by_label("URL").fill(receiver.url)
        page.get_by_role("button", name="Add the webhook").click()
        secret = copied(page, page.get_by_role("button", name="Copy the secret"))
        page.get_by_role("link", name="I have copied it").click()
        page.get_by_role("button", name=re.compile("test", re.IGNORECASE)).click()
        # The log reads itself again.
        row = page.locator("table tbody tr").filter(has_text="webhook.test")
        expect(row).to_contain_text("delivered", timeout=20_000)
        assert receiver.requests[0].verified(secret)["type"] == "webhook.test"


def test_files_add_up_to_what_the_pages_say(
    visits: Visits, clean: Platform, acme: factories.Cast, tmp_path: Path
) -> None:
    for model in (MODEL, OTHER, MODEL):
        assert ask(clean, acme.secret, model).status_code == 200
    visitor = visits(acme.owner)
    page = visitor.go("/dashboard/generations/")
    shown = [amount(cell) for cell in page.locator("#calls tbody [data-title=Credits]").all()]
    with page.expect_download() as begun:
        page.get_by_role("link", name="Export CSV").click()
    begun.value.save_as(tmp_path / "calls.csv")
    with (tmp_path / "calls.csv").open(encoding="utf-8-sig") as file:
        written = [Decimal(row["credits"]) for row in csv.DictReader(file)]
    assert sorted(written) == sorted(shown)
    usage = visitor.go("/dashboard/billing/usage/?by=model")
    assert amount(usage.locator(".figures > div").first) == sum(written)

    visitor.go("/dashboard/billing/statements/").locator("table tbody tr a").first.click()
    with page.expect_download() as begun:
        page.get_by_role("link", name="PDF").click()
    begun.value.save_as(tmp_path / "statement.pdf")
    assert (tmp_path / "statement.pdf").read_bytes().startswith(b"%PDF-")


def test_palette_leads_to_what_is_typed(visits: Visits, acme: factories.Cast) -> None:
    page = visits(acme.owner).go("/dashboard/")
    page.keyboard.press("Meta+k")
    page.keyboard.type("kits")
    expect(page.get_by_role("option").locator("visible=true")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Account Kits")


def test_times_are_told_in_the_readers_own_clock(
    visits: Visits, clean: Platform, acme: factories.Cast
) -> None:
    assert ask(clean, acme.secret).status_code == 200
    page = visits(acme.owner, timezone_id="Asia/Tokyo", locale="en-GB").go("/dashboard/generations/")
    time = page.locator("#calls tbody time").first
    utc = time.text_content() or ""
    page.locator(".person > summary").click()
    page.get_by_role("button", name="Local").click()
    expect(time).to_have_attribute("title", f"{utc} UTC")
    hour = int(utc.split()[-1].split(":")[0])
    expect(time).to_contain_text(f"{(hour + 9) % 24:02}:")
    page.locator(".person > summary").click()
    page.get_by_role("button", name="UTC").click()
    expect(time).to_have_text(utc)
