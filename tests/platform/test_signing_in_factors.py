"""Second factors and passkeys: set up, asked for, used up, removed; what staff need; nothing gets around them."""

import json
import re
import secrets
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from django.utils import timezone
from pytest_django import Settings

from accounts.models import AuditEntry, User
from naive_platform import throttles, urls
from naive_platform.signing_in import doors, second_factors
from tests import factories
from tests.factories import Cast
from tests.platform import authenticators
from tests.platform.authenticators import Passkey

PAGE = "/dashboard/"
SIGN_IN = "/accounts/login/"
CODE = "/accounts/2fa/authenticate/"


@doors.require_staff
def among_staff(request: HttpRequest) -> HttpResponse:
    return HttpResponse("among staff")


urlpatterns = [*urls.urlpatterns, path("staff/", among_staff)]


@pytest.fixture
def acme() -> Cast:
    return factories.acme()


def browser(member: Cast | None = None) -> Client:
    client = Client(SERVER_NAME=authenticators.HOST)
    if member is not None:
        sign_in(client, member)
    return client


def sign_in(client: Client, member: Cast, **query: str) -> Any:
    form = {"login": member.owner.email, "password": factories.PASSWORD, **query}
    return client.post(SIGN_IN, form)


def is_in(client: Client) -> bool:
    return client.get("/accounts/password/change/").status_code == 200


def api(member: Cast, **given: Any) -> Any:
    body = {"email": member.owner.email, "password": factories.PASSWORD, **given}
    return Client(raise_request_exception=False).post("/v1/auth/login", json.dumps(body), "application/json")


def reason(answer: Any) -> tuple[int, Any]:
    return answer.status_code, answer.json()["error"]["details"].get("reason")


def recovery_codes(client: Client) -> list[str]:
    return re.findall(
        r"<li><code>(\d+)</code></li>", client.get("/accounts/2fa/recovery-codes/").content.decode()
    )


def actions(person: User) -> list[str]:
    found = AuditEntry.objects.filter(target_id=str(person.id)).exclude(action="person.signed_in")
    return list(found.order_by("id").values_list("action", flat=True))


# An authenticator app.


def test_app_is_set_up_by_its_code_alone_and_after_the_password(acme: Cast) -> None:
    client = browser(acme)
    assert client.get("/accounts/2fa/totp/activate/")["Location"].startswith(
        "/accounts/reauthenticate/?next="
    )
    authenticators.prove_again(client)
    page = client.get("/accounts/2fa/totp/activate/").content.decode()
    secret = client.session["mfa.totp.secret"]
    assert page.count('<svg class="qr"') == 1
    assert secret in page
    assert "data:image" not in page
    refused = client.post("/accounts/2fa/totp/activate/", {"code": "000000"}).content.decode()
    assert "not accepted" in refused
    assert not second_factors.is_enrolled(acme.owner)
    answer = client.post(
        "/accounts/2fa/totp/activate/", {"code": authenticators.code(client.session["mfa.totp.secret"])}
    )
    assert answer["Location"] == "/accounts/2fa/recovery-codes/"
    assert len(recovery_codes(client)) == 10
    assert actions(acme.owner)[-2:] == ["person.mfa_added", "person.recovery_codes_made"]


def test_secret_is_nowhere_as_it_is(acme: Cast) -> None:
    client = browser(acme)
    secret = authenticators.with_app(client)
    codes = recovery_codes(client)
    kept = repr(list(Authenticator.objects.values())) + repr(
        list(AuditEntry.objects.filter(target_id=str(acme.owner.id)).values())
    )
    assert not any(one in kept for one in [secret, *codes])
    assert "mfa.totp.secret" not in client.session


def test_sign_in_asks_for_a_code_and_goes_on_to_next(acme: Cast) -> None:
    secret = authenticators.with_app(browser(acme))
    client = browser()
    assert sign_in(client, acme, next="/dashboard/keys/")["Location"] == CODE
    # The password alone opens nothing, wherever one goes.
    assert not is_in(client)
    assert "/login/?next=/admin/" in client.get("/admin/")["Location"]
    assert "wrong" in client.post(CODE, {"code": "000000"}).content.decode()
    assert not is_in(client)
    answer = client.post(CODE, {"code": authenticators.code(secret)})
    assert answer["Location"] == "/dashboard/keys/"
    assert is_in(client)


def test_code_without_the_password_opens_nothing(acme: Cast) -> None:
    secret = authenticators.with_app(browser(acme))
    client = browser()
    assert client.post(CODE, {"code": authenticators.code(secret)})["Location"] == SIGN_IN
    assert not is_in(client)


def test_code_is_used_once_here_and_over_the_api(acme: Cast) -> None:
    secret = authenticators.with_app(browser(acme))
    first, second, code = browser(), browser(), authenticators.code(secret)
    for client in (first, second):
        sign_in(client, acme)
        client.post(CODE, {"code": code})
    assert (is_in(first), is_in(second)) == (True, False)
    assert reason(api(acme, mfa_code=code)) == (401, "mfa_code")
    # Nor is one that is older.
    assert reason(api(acme, mfa_code=authenticators.code(secret, steps=-1))) == (401, "mfa_code")
    assert api(acme, mfa_code=authenticators.code(secret, steps=1)).status_code == 200


def test_codes_are_tried_so_often(acme: Cast) -> None:
    secret = authenticators.with_app(browser(acme))
    for _ in range(throttles.CODES_PER_EMAIL - 1):
        assert second_factors.use(person=acme.owner, code="000000", now=timezone.now()) is None
        throttles.count_code(email=acme.owner.email, now=timezone.now())
    client = browser()
    sign_in(client, acme)
    assert "Too many codes" in client.post(CODE, {"code": authenticators.code(secret)}).content.decode()
    refused = api(acme, mfa_code=authenticators.code(secret))
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")


def test_recovery_code_lets_in_once(acme: Cast) -> None:
    client = browser(acme)
    authenticators.with_app(client)
    code = recovery_codes(client)[0]
    first, second = browser(), browser()
    for one in (first, second):
        sign_in(one, acme)
        one.post(CODE, {"code": code})
    assert (is_in(first), is_in(second)) == (True, False)
    assert reason(api(acme, mfa_code=code)) == (401, "mfa_code")
    assert len(recovery_codes(client)) == 9


def test_new_recovery_codes_end_those_before(acme: Cast) -> None:
    client = browser(acme)
    authenticators.with_app(client)
    before = recovery_codes(client)
    assert client.post("/accounts/2fa/recovery-codes/generate/").status_code == 302
    after = recovery_codes(client)
    assert not set(before) & set(after)
    assert reason(api(acme, mfa_code=before[0])) == (401, "mfa_code")
    assert api(acme, mfa_code=after[0]).status_code == 200


def test_api_asks_for_the_code_only_after_the_password(acme: Cast) -> None:
    authenticators.with_app(browser(acme))
    assert reason(api(acme)) == (401, "mfa_required")
    wrong = api(acme, password="wrong")
    assert (wrong.status_code, wrong.json()["error"].get("details", {})) == (401, {})
    assert api(factories.globex()).status_code == 200


def test_password_reset_does_not_get_around_the_second_factor(acme: Cast, settings: Settings) -> None:
    authenticators.with_app(browser(acme))
    new = "another battery staple"
    acme.owner.set_password(new)
    acme.owner.save()
    client = browser()
    answer = client.post(SIGN_IN, {"login": acme.owner.email, "password": new})
    assert answer["Location"] == CODE
    assert not is_in(client)


def test_app_is_removed_after_the_password_alone(acme: Cast) -> None:
    client = browser(acme)
    authenticators.with_app(client)
    later = browser()
    sign_in(later, acme)
    later.post(CODE, {"code": recovery_codes(client)[0]})
    assert later.post("/accounts/2fa/totp/deactivate/")["Location"].startswith("/accounts/reauthenticate/")
    assert second_factors.is_enrolled(acme.owner)
    assert client.post("/accounts/2fa/totp/deactivate/").status_code == 302
    assert not Authenticator.objects.filter(user=acme.owner).exists()
    assert {"person.mfa_removed", "person.recovery_codes_removed"} <= set(actions(acme.owner))
    assert sign_in(browser(), acme)["Location"] == PAGE


def test_address_that_is_not_confirmed_sets_nothing_up_where_letters_are_sent(settings: Settings) -> None:
    client = browser(initech := factories.initech())
    authenticators.prove_again(client)
    settings.EMAIL_URL = "console:"
    assert client.get("/accounts/2fa/totp/activate/")["Location"] == "/accounts/2fa/"
    assert "Confirm your e-mail address first" in client.get("/accounts/2fa/").content.decode()
    settings.EMAIL_URL = ""
    assert client.get("/accounts/2fa/totp/activate/").status_code == 200
    assert not second_factors.is_enrolled(initech.owner)


def test_with_another_secret_key_no_code_opens(acme: Cast, settings: Settings) -> None:
    client = browser(acme)
    secret = authenticators.with_app(client)
    code = recovery_codes(client)[0]
    settings.SECRET_KEY = "another one"
    for given in (authenticators.code(secret), code):
        assert second_factors.use(person=acme.owner, code=given, now=timezone.now()) is None


def test_operator_takes_a_lost_factor_away(acme: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    authenticators.with_app(browser(acme))
    call_command("person", "remove-factors", acme.owner.email.upper())
    assert "2 removed" in capsys.readouterr().out
    assert sign_in(browser(), acme)["Location"] == PAGE
    entry = AuditEntry.objects.get(target_id=str(acme.owner.id), action="person.mfa_removed")
    assert entry.actor_kind == "operator"


# Passkeys.


def with_passkey(client: Client, **given: Any) -> Passkey:
    authenticators.prove_again(client)
    passkey = Passkey()
    options = client.get("/accounts/2fa/webauthn/add/").context["js_data"]["creation_options"]
    form = {"name": "My <b>phone</b>", "passwordless": "on", "credential": passkey.made(options, **given)}
    client.post("/accounts/2fa/webauthn/add/", form)
    return passkey


def test_passkey_signs_in_alone_and_counts_as_second_factor(acme: Cast) -> None:
    passkey = with_passkey(browser(acme))
    client = browser()
    options = client.get("/accounts/2fa/webauthn/login/", headers={"accept": "application/json"}).json()
    form = {"credential": passkey.signed(options["request_options"]), "next": "/dashboard/keys/"}
    assert client.post("/accounts/2fa/webauthn/login/", form)["Location"] == "/dashboard/keys/"
    assert is_in(client)
    assert "person.passkey_added" in actions(acme.owner)
    # What was signed once signs nobody in again.
    other = browser()
    other.get("/accounts/2fa/webauthn/login/", headers={"accept": "application/json"})
    other.post("/accounts/2fa/webauthn/login/", form)
    assert not is_in(other)


def test_first_factor_ends_the_sessions_that_never_showed_it(acme: Cast) -> None:
    stranger, owner = browser(acme), browser(acme)
    assert is_in(stranger)
    with_passkey(owner)
    assert not is_in(stranger)
    assert is_in(owner)
    assert "person.sessions_ended" in actions(acme.owner)


def test_passkey_is_asked_for_after_the_password_too(acme: Cast) -> None:
    passkey = with_passkey(browser(acme))
    client = browser()
    assert sign_in(client, acme)["Location"] == CODE
    options = client.get(CODE).context["js_data"]["request_options"]
    assert client.post(CODE, {"credential": passkey.signed(options)})["Location"] == PAGE
    assert is_in(client)
    # Over the API, which knows no passkeys, a recovery code stands in.
    assert reason(api(acme)) == (401, "mfa_required")


def test_passkey_of_a_closed_account_opens_nothing(acme: Cast) -> None:
    passkey = with_passkey(browser(acme))
    User.objects.filter(id=acme.owner.id).update(is_active=False)
    client = browser()
    options = client.get("/accounts/2fa/webauthn/login/", headers={"accept": "application/json"}).json()
    client.post("/accounts/2fa/webauthn/login/", {"credential": passkey.signed(options["request_options"])})
    assert not is_in(client)


def test_passwords_entered_once_more_are_counted_as_sign_ins(acme: Cast) -> None:
    client = browser(acme)
    for _ in range(throttles.SIGN_INS_PER_EMAIL - 1):
        client.post("/accounts/reauthenticate/", {"password": "wrong"})
    page = client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD}).content.decode()
    assert "Too many sign-ins" in page


def test_what_a_stranger_is_asked_for_is_counted_and_kept_no_more_often(settings: Settings) -> None:
    settings.SIGN_INS_PER_ADDRESS = 2
    network = f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}"
    before = Session.objects.count()
    answers = [
        Client(REMOTE_ADDR=f"{network}::{number}").get(
            "/accounts/2fa/webauthn/login/", headers={"accept": "application/json"}
        )
        for number in range(1, 5)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert Session.objects.count() == before + 2


def test_passkey_of_another_site_or_person_is_refused(acme: Cast) -> None:
    with_passkey(browser(acme), origin="http://evil.example")
    assert not second_factors.is_enrolled(acme.owner)
    passkey = with_passkey(browser(acme))
    client = browser(globex := factories.globex())
    with_passkey(client).id = b"theirs"
    late = browser()
    sign_in(late, globex)
    options = late.get(CODE).context["js_data"]["request_options"]
    late.post(CODE, {"credential": passkey.signed(options)})
    assert not is_in(late)


@pytest.mark.parametrize(
    "given",
    ["", "[]", "{}", "null", "1", '"x"', '{"response": []}', '{"response": {"userHandle": "AA"}}', "{"],
)
def test_what_is_no_credential_is_refused_and_breaks_nothing(acme: Cast, given: str) -> None:
    client = browser()
    client.get("/accounts/2fa/webauthn/login/", headers={"accept": "application/json"})
    assert client.post("/accounts/2fa/webauthn/login/", {"credential": given})["Location"] == SIGN_IN
    signed_in = browser(acme)
    authenticators.prove_again(signed_in)
    signed_in.get("/accounts/2fa/webauthn/add/")
    assert (
        signed_in.post("/accounts/2fa/webauthn/add/", {"name": "x", "credential": given}).status_code == 200
    )
    assert not second_factors.is_enrolled(acme.owner)


def test_passkey_is_renamed_and_removed_by_its_owner_alone(acme: Cast) -> None:
    client = browser(acme)
    with_passkey(client)
    row = Authenticator.objects.get(user=acme.owner, type="webauthn")
    stranger = browser(factories.globex())
    authenticators.prove_again(stranger)
    for deed in ("edit", "remove"):
        assert (
            stranger.post(f"/accounts/2fa/webauthn/keys/{row.pk}/{deed}/", {"name": "x"}).status_code == 404
        )
    assert "My &lt;b&gt;phone&lt;/b&gt;" in client.get("/accounts/2fa/").content.decode()
    client.post(f"/accounts/2fa/webauthn/keys/{row.pk}/edit/", {"name": "Key"})
    assert ">Key</strong>" in client.get("/accounts/2fa/").content.decode()
    client.post(f"/accounts/2fa/webauthn/keys/{row.pk}/remove/")
    assert not Authenticator.objects.filter(user=acme.owner).exists()
    assert "person.passkey_removed" in actions(acme.owner)


# Staff.


def staff(member: Cast) -> Cast:
    User.objects.filter(id=member.owner.id).update(is_staff=True)
    return member


@pytest.mark.urls("tests.platform.test_signing_in_factors")
def test_staff_need_a_second_factor_in_this_session(acme: Cast) -> None:
    client = browser(staff(acme))
    page = client.get("/staff/?a=b")
    assert (page.status_code, "Set up a second factor" in page.content.decode()) == (403, True)
    # Set up elsewhere, it was not shown here, whatever becomes of the list of sessions that are ended with that.
    elsewhere = browser(acme)
    UserSession.objects.all().delete()
    authenticators.with_app(elsewhere)
    page = client.get("/staff/?a=b")
    assert (page.status_code, "?next=/staff/%3Fa%3Db" in page.content.decode().replace("%2F", "/")) == (
        403,
        True,
    )
    answer = client.post(
        "/accounts/2fa/reauthenticate/", {"code": recovery_codes(elsewhere)[0], "next": "/staff/?a=b"}
    )
    assert answer["Location"] == "/staff/?a=b"
    assert client.get("/staff/?a=b").content == b"among staff"


@pytest.mark.urls("tests.platform.test_signing_in_factors")
@pytest.mark.parametrize("kind", ["app", "passkey"])
def test_staff_who_set_one_up_have_shown_it(acme: Cast, kind: str) -> None:
    client = browser(staff(acme))
    if kind == "app":
        authenticators.with_app(client)
    else:
        with_passkey(client)
    assert client.get("/staff/").content == b"among staff"
    # It goes, and so does what it opened.
    Authenticator.objects.filter(user=acme.owner).delete()
    assert client.get("/staff/").status_code == 403


@pytest.mark.urls("tests.platform.test_signing_in_factors")
def test_staff_who_signed_in_with_it_are_not_asked_again(acme: Cast) -> None:
    secret = authenticators.with_app(browser(staff(acme)))
    client = browser()
    sign_in(client, acme)
    client.post(CODE, {"code": authenticators.code(secret)})
    assert client.get("/staff/").status_code == 200


@pytest.mark.urls("tests.platform.test_signing_in_factors")
def test_staff_pages_are_not_there_for_others(acme: Cast, settings: Settings) -> None:
    assert browser().get("/staff/")["Location"] == f"{SIGN_IN}?next=/staff/"
    client = browser(acme)
    authenticators.with_app(client)
    assert client.get("/staff/").status_code == 404
    settings.DEBUG = True
    assert client.get("/staff/").status_code == 404
    assert browser(staff(factories.globex())).get("/staff/").status_code == 200
