"""How people get in and keep their accounts, in a real browser: by password, by a letter's link, with an authenticator
app and with a passkey that Chromium itself keeps; and every form of it without a script."""

import dataclasses
import re
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests import factories
from tests.browser.conftest import PHONE, WIDE, Visitor, Visits
from tests.e2e.conftest import Platform, eventually
from tests.platform import authenticators

pytestmark = pytest.mark.usefixtures("clean")

# Letters are read where the gateway writes them.
ENVIRON = {"EMAIL_URL": "console:"}
SIGN_IN = "/accounts/login/"
SECOND_FACTOR = "/accounts/2fa/"
NEW = "another battery staple"
# A phone or a laptop that knows its user.
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
# What the dark and a phone can break of a page that keeps nobody out.
LOOKS = ("color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size")


def guest(visits: Visits, *, script: bool = True) -> Visitor:
    """Nobody yet, by the name of the host, to which passkeys belong."""
    visitor = visits(java_script_enabled=script)
    url = visitor.platform.url.replace("127.0.0.1", authenticators.HOST)
    visitor.platform = dataclasses.replace(visitor.platform, url=url)
    return visitor


def look(visitor: Visitor) -> None:
    """This page keeps nobody out, in the light, in the dark and on a phone."""
    page = visitor.page
    assert page.locator("h1").count() == 1
    assert visitor.grave() == []
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(PHONE)
    assert visitor.overflow_px() <= 0
    assert visitor.grave(LOOKS) == []
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(WIDE)


def press(page: Page, button: str) -> None:
    page.get_by_role("main").get_by_role("button", name=button, exact=True).click()


def sign_up(visitor: Visitor) -> str:
    """A new person with a company, at the page that shows its key; their address."""
    email = f"{uuid4().hex}@example.org"
    page = visitor.go("/accounts/signup/")
    page.get_by_label("Your name").fill("Ada Lovelace")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_label("Company").fill("Analytical Engines")
    press(page, "Create account")
    expect(page.get_by_role("heading", level=1)).to_have_text("Welcome to Analytical Engines")
    return email


def sign_in(visitor: Visitor, email: str, password: str = factories.PASSWORD) -> Page:
    page = visitor.go(SIGN_IN)
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    press(page, "Sign in")
    return page


def sign_out(visitor: Visitor) -> None:
    page = visitor.go("/accounts/logout/")
    press(page, "Sign out")
    page.wait_for_url(f"**{SIGN_IN}")


def expect_in(page: Page) -> None:
    page.wait_for_url("**/dashboard/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def is_in(visitor: Visitor) -> bool:
    return urlsplit(visitor.go("/accounts/sessions/").url).path == "/accounts/sessions/"


def prove_again(visitor: Visitor, path: str) -> Page:
    """A page that asks for the password once more."""
    page = visitor.go(path)
    page.get_by_label("Password").fill(factories.PASSWORD)
    press(page, "Go on")
    page.wait_for_url(f"**{path}")
    return page


def set_app_up(visitor: Visitor) -> str:
    """The secret of an authenticator app, which shows codes from now on."""
    page = prove_again(visitor, "/accounts/2fa/totp/activate/")
    assert page.locator("svg.qr").is_visible()
    secret = page.locator(".code-block code").inner_text()
    page.get_by_label("Code", exact=True).fill(authenticators.code(secret, steps=-1))
    press(page, "Set it up")
    expect(page.locator(".codes li")).to_have_count(10)
    return secret


def letter_link(platform: Platform, email: str, path: str) -> str:
    """The path of the link, which begins like this, in the last letter to somebody."""
    log = platform.folder / "logs" / "gateway-1.log"
    letter = re.compile(rf"To: {re.escape(email)}\n(?:(?!To: ).*\n)*?http://[^/\s]+({re.escape(path)}\S+)\n")
    eventually(lambda: letter.search(log.read_text()) is not None, what=f"a letter to {email}")
    return str(letter.findall(log.read_text())[-1])


def ask_for_link(visitor: Visitor, email: str) -> str:
    """What somebody who lost the password is sent."""
    page = visitor.go(SIGN_IN)
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_label("E-mail address").fill(email)
    press(page, "Send the link")
    expect(page.get_by_role("heading", level=1)).to_have_text("Check your mail")
    return letter_link(visitor.platform, email, "/accounts/password/reset/key/")


def with_authenticator(visitor: Visitor) -> None:
    """This browser keeps passkeys."""
    session = visitor.context.new_cdp_session(visitor.page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})


def test_key_is_shown_once_and_the_password_opens_what_it_belongs_to(visits: Visits) -> None:
    visitor = guest(visits)
    page = visitor.page
    email = sign_up(visitor)
    (secret,) = set(re.findall(r"nv_sk_live_\w+", page.locator("main").inner_text()))
    assert visitor.platform.get(secret, "/v1/auth/me").json()["company"]["name"] == "Analytical Engines"
    look(visitor)
    page.get_by_role("link", name="I have copied it").click()
    expect_in(page)
    visitor.go("/accounts/signup/")
    expect_in(page)
    assert secret not in visitor.go("/dashboard/keys/").content()

    sign_out(visitor)
    sign_in(visitor, email, "wrong horse")
    expect(page.get_by_role("alert")).to_contain_text("do not open an account")
    look(visitor)
    expect_in(sign_in(visitor, email))


def test_address_is_confirmed_by_its_letter(visits: Visits) -> None:
    visitor = guest(visits)
    email = sign_up(visitor)
    page = visitor.go("/accounts/email/")
    expect(page.locator(".facts")).to_contain_text("not confirmed")
    visitor.go(letter_link(visitor.platform, email, "/accounts/confirm-email/"))
    look(visitor)
    press(page, "Yes, confirm it")
    expect_in(page)
    visitor.go("/accounts/email/")
    expect(page.locator(".facts .tag")).to_have_text("confirmed")


def test_code_of_an_app_is_asked_for_after_the_password(visits: Visits) -> None:
    visitor = guest(visits)
    page = visitor.page
    email = confirmed(visitor)
    secret = set_app_up(visitor)
    look(visitor)
    sign_out(visitor)
    sign_in(visitor, email)
    page.wait_for_url("**/accounts/2fa/authenticate/")
    page.get_by_label("Code", exact=True).fill("000000")
    press(page, "Sign in")
    expect(page.locator(".error")).to_contain_text("The code is wrong")
    assert page.get_by_role("button", name="passkey").count() == 0
    look(visitor)
    page.get_by_label("Code", exact=True).fill(authenticators.code(secret))
    press(page, "Sign in")
    expect_in(page)


def test_passkey_signs_in_alone_and_after_the_password(visits: Visits) -> None:
    visitor = guest(visits)
    page = visitor.page
    email = confirmed(visitor)
    with_authenticator(visitor)
    prove_again(visitor, "/accounts/2fa/webauthn/add/")
    look(visitor)
    page.get_by_label("Name").fill("This laptop")
    press(page, "Go on")
    expect(page.get_by_text("Your passkey is added.")).to_be_visible()
    visitor.go(SECOND_FACTOR)
    expect(page.locator(".rows strong")).to_have_text("This laptop")
    look(visitor)

    sign_out(visitor)
    press(page, "Sign in with a passkey")
    expect_in(page)
    sign_out(visitor)
    sign_in(visitor, email)
    page.wait_for_url("**/accounts/2fa/authenticate/")
    look(visitor)
    press(page, "Use a passkey")
    expect_in(page)


def test_browser_without_the_passkey_says_so_and_lets_nobody_in(visits: Visits) -> None:
    visitor = guest(visits)
    with_authenticator(visitor)
    page = visitor.go(SIGN_IN)
    press(page, "Sign in with a passkey")
    expect(page.get_by_role("alert")).to_contain_text("The browser gave no passkey")
    assert not is_in(visitor)


def test_other_sessions_are_ended(visits: Visits) -> None:
    here, there = guest(visits), guest(visits)
    email = sign_up(here)
    expect_in(sign_in(there, email))
    page = here.go("/accounts/sessions/")
    expect(page.locator(".rows li")).to_have_count(2)
    look(here)
    press(page, "Sign out everywhere else")
    expect(page.locator(".rows li")).to_have_count(1)
    assert (is_in(here), is_in(there)) == (True, False)


def test_lost_password_is_set_anew_by_the_letter(visits: Visits) -> None:
    visitor, elsewhere = guest(visits), guest(visits)
    email = sign_up(elsewhere)
    link = ask_for_link(visitor, email)
    look(visitor)
    page = visitor.go(link)
    look(visitor)
    page.get_by_label("New password").fill(NEW)
    press(page, "Set the password")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your new password is set")
    assert not is_in(elsewhere)
    page.get_by_role("link", name="Sign in").click()
    sign_in(visitor, email)
    expect(page.get_by_role("alert")).to_contain_text("do not open an account")
    expect_in(sign_in(visitor, email, NEW))
    expect(elsewhere.go(link).get_by_role("heading", level=1)).to_have_text("This link no longer works")


def test_every_form_works_without_a_script(visits: Visits) -> None:
    visitor = guest(visits, script=False)
    page = visitor.page
    email = confirmed(visitor)
    secret = set_app_up(visitor)
    visitor.go("/accounts/2fa/webauthn/add/")
    expect(page.get_by_role("note")).to_contain_text("A passkey needs JavaScript")
    sign_out(visitor)
    assert page.get_by_role("button", name="passkey").count() == 0
    visitor.go(ask_for_link(visitor, email))
    page.get_by_label("New password").fill(NEW)
    press(page, "Set the password")
    sign_in(visitor, email, NEW)
    page.get_by_label("Code", exact=True).fill(authenticators.code(secret))
    press(page, "Sign in")
    expect_in(page)
    assert is_in(visitor)


def confirmed(visitor: Visitor) -> str:
    """Somebody who has signed up and answered the letter, as second factors ask for; their address."""
    email = sign_up(visitor)
    press(visitor.go(letter_link(visitor.platform, email, "/accounts/confirm-email/")), "Yes, confirm it")
    expect_in(visitor.page)
    return email
