"""/v1/auth: registering, signing in, choosing a company, and who asks; how often, and what nobody learns by it."""

import json
import secrets
from ipaddress import IPv6Address
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.cache import caches
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts import companies, keys
from accounts.answer_models import IdempotentAnswer
from accounts.models import APIKey, AuditEntry, Company, User
from billing.models import Wallet
from naive_platform import throttles
from tests import factories
from tests.platform import hashers


def anywhere() -> str:
    """An address of a network that nobody else has counted in."""
    return IPv6Address(secrets.randbits(125)).exploded


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


def post(path: str, body: Any, *, address: str | None = None, **headers: str) -> Any:
    return Client(raise_request_exception=False).post(
        f"/v1/auth/{path}",
        json.dumps(body),
        content_type="application/json",
        headers=headers,
        REMOTE_ADDR=address or anywhere(),
    )


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def get_me(secret: str, **cookies: str) -> Any:
    return Client().get("/v1/auth/me", headers=bearer(secret))


def error(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    assert found["request_id"] == answer.headers["X-Request-Id"]
    return found


def newcomer(**given: Any) -> dict[str, Any]:
    unique = uuid4().hex
    return {"name": "Ada", "email": f"{unique}@example.org", "password": factories.PASSWORD, **given}


def login(member: factories.Cast, **given: Any) -> Any:
    address = given.pop("address", None)
    body = {"email": member.owner.email, "password": factories.PASSWORD, **given}
    return post("login", body, address=address)


def joined(person: User, member: factories.Cast, role: str) -> None:
    companies.add_member(company_id=member.company_id, user_id=person.id, role=role, now=timezone.now())


# Registering.


def test_registering_founds_a_company_and_gives_its_key(settings: Settings) -> None:
    settings.DEBUG = True
    answer = post("register", newcomer(company_name="Ada's machines"))
    found = answer.json()
    assert (answer.status_code, found["company_name"], found["credits_remaining"]) == (
        201,
        "Ada's machines",
        20,
    )
    me = get_me(found["api_key"]).json()
    assert (me["company"]["id"], me["role"], me["user"]["id"]) == (
        found["company_id"],
        "owner",
        found["user_id"],
    )
    assert "api_key" in found["hint"]


def test_nothing_is_granted_before_the_address_is_verified_and_the_hint_says_so() -> None:
    found = post("register", newcomer()).json()
    assert found["credits_remaining"] == 0
    assert "verified" in found["hint"]
    assert Wallet.objects.get(company_id=found["company_id"]).posted_nanocredits == 0
    assert found["company_name"] == "Ada"


def test_address_that_is_taken_is_refused_whatever_its_case(acme: factories.Cast) -> None:
    answer = post("register", newcomer(email=acme.owner.email.upper()))
    assert (answer.status_code, error(answer)["code"]) == (409, "duplicate_record")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": None}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "password"}, "password"),
        ({"password": "x" * 2000}, "password"),
        ({"name": " "}, "name"),
        ({"company_name": "x" * 201}, "company_name"),
        ({"is_staff": True}, "is_staff"),
        ({"company_id": "0197f3a0-0000-7000-8000-000000000000"}, "company_id"),
        ({"email_verified": True}, "email_verified"),
    ],
    ids=str,
)
def test_bad_registration_names_its_field_and_leaves_nobody(given: dict[str, Any], field: str) -> None:
    body = newcomer() | given
    answer = post("register", body)
    assert (answer.status_code, error(answer)["details"]) == (400, {"field": field})
    assert error(answer)["message"].startswith(f"{field}: ")
    assert not User.objects.filter(name="Ada", email=str(body["email"])).exists()


def test_registration_is_the_persons_own_in_the_audit_log() -> None:
    body = newcomer()
    answer = post("register", body)
    entries = AuditEntry.objects.filter(request_id=answer.headers["X-Request-Id"])
    actions = {entry.action for entry in entries}
    assert {"person.created", "company.created", "member.added", "api_key.created"} <= actions
    made = entries.get(action="api_key.created")
    assert (made.actor_kind, made.actor_label) == ("person", body["email"])
    assert answer.json()["api_key"] not in repr(list(entries.values()))
    assert body["password"] not in repr(list(entries.values()))


# Signing in.


def test_each_sign_in_gives_another_key_and_older_ones_stay(acme: factories.Cast) -> None:
    first, second = (login(acme).json() for _ in range(2))
    assert first["api_key"] != second["api_key"]
    assert first["companies"] == [{"id": str(acme.company_id), "name": acme.company.name}]
    for secret in (acme.secret, first["api_key"], second["api_key"]):
        assert get_me(secret).json()["role"] == "owner"


def test_key_of_a_sign_in_has_the_members_role(acme: factories.Cast) -> None:
    clerk = post("register", newcomer()).json()
    person = User.objects.get(memberships__company_id=clerk["company_id"])
    joined(person, acme, "viewer")
    Company.objects.filter(id=clerk["company_id"]).update(status="closed")
    found = post("login", {"email": person.email, "password": factories.PASSWORD}).json()
    assert (found["company_id"], found["role"]) == (str(acme.company_id), "viewer")
    assert get_me(found["api_key"]).json()["role"] == "viewer"


def test_who_has_no_account_and_who_has_learn_the_same(acme: factories.Cast) -> None:
    closed = factories.globex().owner
    User.objects.filter(id=closed.id).update(is_active=False)
    tries = [(acme.owner.email, "wrong"), (f"{uuid4().hex}@example.org", "wrong"), ("no address", "x")]
    tries += [(closed.email, factories.PASSWORD), (acme.owner.email, f" {factories.PASSWORD}")]
    seen = set()
    for email, password in tries:
        answer = post("login", {"email": email, "password": password})
        told = {name: value for name, value in error(answer).items() if name != "request_id"}
        seen.add((answer.status_code, json.dumps(told)))
    assert len(seen) == 1
    assert seen.pop()[0] == 401


def test_unknown_address_costs_one_hash_as_a_known_one_does(acme: factories.Cast, settings: Settings) -> None:
    """The time of a refusal is that of its hash: it is made for nobody too."""
    settings.PASSWORD_HASHERS = ["tests.platform.hashers.CountingHasher"]
    person = User.objects.get(id=acme.owner.id)
    person.set_password(factories.PASSWORD)
    person.save()

    counts = []
    for email in (acme.owner.email, f"{uuid4().hex}@example.org"):
        before = hashers.made
        assert post("login", {"email": email, "password": "wrong"}).status_code == 401
        counts.append(hashers.made - before)
    assert counts == [1, 1]


def test_sign_in_leaves_who_it_was_and_no_password(acme: factories.Cast) -> None:
    answer = login(acme)
    entries = AuditEntry.objects.filter(request_id=answer.headers["X-Request-Id"])
    assert {entry.action for entry in entries} == {"person.signed_in", "api_key.created"}
    assert {(entry.actor_kind, entry.person_id) for entry in entries} == {("person", acme.owner.id)}
    assert factories.PASSWORD not in repr(list(entries.values()))


def test_person_without_a_company_is_told_so() -> None:
    body = newcomer()
    found = post("register", body).json()
    companies.close(company_id=UUID(found["company_id"]), now=timezone.now())
    answer = post("login", {"email": body["email"], "password": body["password"]})
    assert (answer.status_code, error(answer)["details"]) == (403, {"reason": "no_company"})


def test_second_factor_nobody_has_is_not_looked_at(acme: factories.Cast) -> None:
    assert login(acme, mfa_code="123456").status_code == 200


# How often.


@pytest.mark.parametrize("path", ["login", "register"])
def test_one_address_may_try_so_often(path: str, settings: Settings) -> None:
    settings.SIGN_INS_PER_ADDRESS = settings.REGISTRATIONS_PER_ADDRESS = 3
    network = anywhere().rpartition(":")[0]
    bodies = [newcomer(password="password") for _ in range(4)]
    answers = []
    for number, body in enumerate(bodies):
        sent = body if path == "register" else {"email": body["email"], "password": "x"}
        answers.append(post(path, sent, address=f"{network}:{number + 1}"))
    assert [answer.status_code for answer in answers] == [400 if path == "register" else 401] * 3 + [429]
    told = error(answers[-1])
    assert (told["code"], told["details"]["scope"], told["details"]["max"]) == ("rate_limited", "address", 3)
    assert 0 < int(answers[-1].headers["Retry-After"]) <= throttles.REGISTRATION_WINDOW_S


def test_one_account_is_tried_so_often_from_anywhere_and_a_key_goes_on(acme: factories.Cast) -> None:
    answers = [login(acme, password="wrong") for _ in range(throttles.SIGN_INS_PER_EMAIL)]
    assert {answer.status_code for answer in answers} == {401}
    refused = login(acme)
    assert (refused.status_code, error(refused)["details"]["scope"]) == (429, "email")
    assert get_me(acme.secret).status_code == 200
    # An address that nobody has is counted and refused alike.
    nobody = f"{uuid4().hex}@example.org"
    for _ in range(throttles.SIGN_INS_PER_EMAIL):
        post("login", {"email": nobody, "password": "x"})
    other = post("login", {"email": nobody.upper(), "password": "x"})
    assert (other.status_code, error(other)["message"]) == (429, error(refused)["message"])


def test_dashboards_sign_in_counts_together_with_the_apis(acme: factories.Cast) -> None:
    form, page = {"login": acme.owner.email, "password": factories.PASSWORD}, "/accounts/login/"
    for _ in range(throttles.SIGN_INS_PER_EMAIL - 1):
        login(acme, password="wrong")
    assert Client().post(page, form | {"password": "wrong"}, REMOTE_ADDR=anywhere()).status_code == 200
    refused = Client().post(page, form, REMOTE_ADDR=anywhere())
    assert (refused.status_code, "Too many sign-ins" in refused.content.decode()) == (200, True)


def test_without_valkey_each_process_counts_for_itself(acme: factories.Cast, settings: Settings) -> None:
    gone = {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {**settings.CACHES, "default": gone}
    assert login(acme).status_code == 200
    for _ in range(throttles.SIGN_INS_PER_EMAIL - 1):
        login(acme, password="wrong")
    assert login(acme).status_code == 429


def test_neither_address_nor_e_mail_is_kept_as_it_is(acme: factories.Cast) -> None:
    address = anywhere()
    login(acme, address=address)
    client = caches["default"]._cache.get_client(None)  # type: ignore[attr-defined]
    kept = b" ".join(client.scan_iter(match="*throttle*", count=1000)).decode()
    assert "throttle:sign_ins:" in kept
    assert acme.owner.email not in kept
    assert address not in kept


# Once.


def test_registration_that_is_sent_again_is_answered_again_to_who_knows_all_of_it() -> None:
    body, key = newcomer(), uuid4().hex
    first, again = (post("register", body, **{"Idempotency-Key": key}) for _ in range(2))
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    other = post("register", body | {"password": "another good one"}, **{"Idempotency-Key": key})
    assert (other.status_code, error(other)["code"]) == (409, "duplicate_record")


def test_key_of_a_stranger_is_simply_another_one(acme: factories.Cast) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    globex = factories.globex()
    found = [
        post("login", {"email": member.owner.email, "password": factories.PASSWORD}, **key)
        for member in (acme, globex)
    ]
    assert [answer.json()["company_id"] for answer in found] == [str(acme.company_id), str(globex.company_id)]
    assert len({answer.json()["api_key"] for answer in found}) == 2


def test_wrong_password_claims_no_key(acme: factories.Cast) -> None:
    body = {"email": acme.owner.email, "password": "wrong"}
    answers = [post("login", body, **{"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [401, 401]


def test_what_is_kept_of_a_registration_does_not_let_its_password_be_guessed() -> None:
    post("register", newcomer(), **{"Idempotency-Key": uuid4().hex})
    kept = IdempotentAnswer.objects.latest("created_at")
    assert b"nv_sk_live_" not in bytes(kept.answer or b"")


# Choosing a company.


def test_key_of_a_sign_in_gets_one_for_another_company_of_its_person(acme: factories.Cast) -> None:
    globex = factories.globex()
    joined(acme.owner, globex, "member")
    key = login(acme).json()
    assert [company["id"] for company in key["companies"]] == [str(acme.company_id), str(globex.company_id)]
    answer = post("select-company", {"company_id": str(globex.company_id)}, **bearer(key["api_key"]))
    found = answer.json()
    assert (answer.status_code, found["company_id"], found["role"]) == (200, str(globex.company_id), "member")
    me = get_me(found["api_key"]).json()
    assert (me["company"]["id"], me["person"]["email"]) == (str(globex.company_id), acme.owner.email)
    back = post("select-company", {"company_id": str(acme.company_id)}, **bearer(found["api_key"]))
    assert back.json()["company_id"] == str(acme.company_id)


def test_person_gets_out_of_a_suspended_company(acme: factories.Cast) -> None:
    globex, key = factories.globex(), login(acme).json()["api_key"]
    joined(acme.owner, globex, "member")
    companies.suspend(company_id=acme.company_id)
    body = {"company_id": str(globex.company_id)}
    assert post("select-company", body, **bearer(key)).json()["company_id"] == str(globex.company_id)
    assert login(acme).json()["company_id"] == str(globex.company_id)


def test_companys_own_key_opens_no_other_company_of_its_maker(acme: factories.Cast) -> None:
    """Whoever got it from Acme is not to get into what else its maker belongs to."""
    globex = factories.globex()
    joined(acme.owner, globex, "owner")
    answer = post("select-company", {"company_id": str(globex.company_id)}, **bearer(acme.secret))
    assert (answer.status_code, error(answer)["details"]) == (403, {"reason": "key_not_personal"})
    me = get_me(acme.secret).json()
    assert (me["person"], me["companies"]) == (None, [])


@pytest.mark.parametrize("limit", [{"cap_credits": 1, "cap_period": "day"}, {"requests_per_minute": 5}])
def test_limited_key_of_a_sign_in_gets_no_key_without_the_limit(
    acme: factories.Cast, limit: dict[str, Any]
) -> None:
    key = login(acme).json()
    row = APIKey.objects.filter(company_id=acme.company_id).latest("created_at")
    keys.update(company_id=acme.company_id, key_id=row.id, changes=limit, now=timezone.now())
    answer = post("select-company", {"company_id": str(acme.company_id)}, **bearer(key["api_key"]))
    assert (answer.status_code, error(answer)["details"]) == (403, {"reason": "key_limit"})


def test_company_of_others_is_not_found_as_one_that_is_not_there(acme: factories.Cast) -> None:
    globex, key = factories.globex(), login(acme).json()["api_key"]
    seen = set()
    for company_id in (globex.company_id, uuid4()):
        answer = post("select-company", {"company_id": str(company_id)}, **bearer(key))
        told = {name: value for name, value in error(answer).items() if name != "request_id"}
        seen.add((answer.status_code, json.dumps(told).replace(str(company_id), "…")))
    assert [status for status, _ in seen] == [404]


def test_dashboards_session_goes_on_in_the_company_that_is_chosen(acme: factories.Cast) -> None:
    globex, client = factories.globex(), Client()
    joined(acme.owner, globex, "viewer")
    client.force_login(acme.owner)
    body = {"company_id": str(globex.company_id)}
    answer = client.post("/v1/auth/select-company", json.dumps(body), content_type="application/json")
    assert (answer.status_code, answer.json()["api_key"]) == (200, None)
    me = client.get("/v1/auth/me").json()
    assert (me["kind"], me["company"]["id"], me["role"]) == ("person", str(globex.company_id), "viewer")
    left = AuditEntry.objects.get(request_id=answer.headers["X-Request-Id"])
    assert (left.company_id, left.action) == (globex.company_id, "person.changed_company")


def test_dashboards_session_goes_on_where_a_sign_in_would(acme: factories.Cast) -> None:
    """A closed company has nobody; of the others the first that is active is where one begins."""
    globex, initech, client = factories.globex(), factories.initech(), Client()
    joined(acme.owner, globex, "viewer")
    joined(acme.owner, initech, "member")
    client.force_login(acme.owner)
    companies.suspend(company_id=acme.company_id)
    assert client.get("/v1/auth/me").json()["company"]["id"] == str(globex.company_id)
    for chosen in (acme, globex):
        body = {"company_id": str(chosen.company_id)}
        client.post("/v1/auth/select-company", json.dumps(body), content_type="application/json")
        assert client.get("/v1/auth/me").json()["company"]["id"] == str(chosen.company_id)
        companies.close(company_id=chosen.company_id, now=timezone.now())
    assert client.get("/v1/auth/me").json()["company"]["id"] == str(initech.company_id)
    companies.close(company_id=initech.company_id, now=timezone.now())
    answer = client.get("/v1/auth/me")
    assert (answer.status_code, error(answer)["details"]) == (403, {"reason": "no_company"})


def test_dashboards_session_chooses_nothing_without_the_token(acme: factories.Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(acme.owner)
    body = {"company_id": str(acme.company_id)}
    answer = client.post("/v1/auth/select-company", json.dumps(body), content_type="application/json")
    assert (answer.status_code, error(answer)["details"]) == (403, {"reason": "csrf"})


# Who asks.


def test_person_signed_in_reads_who_they_are(acme: factories.Cast) -> None:
    client = Client()
    client.force_login(acme.owner)
    me = client.get("/v1/auth/me").json()
    assert (me["kind"], me["key"], me["session_id"], me["is_narrow"]) == ("person", None, None, False)
    assert me["person"] == {"id": str(acme.owner.id), "name": acme.owner.name, "email": acme.owner.email}
    assert me["companies"] == [{"id": str(acme.company_id), "name": acme.company.name}]


def test_sealed_key_reads_its_scope_and_nothing_of_its_maker(acme: factories.Cast) -> None:
    sealed = keys.create(
        company_id=acme.company_id,
        name="Sealed",
        role="member",
        created_by_id=acme.owner.id,
        active_tenant_user_id=acme.tenant_user.id,
        requests_per_minute=7,
        now=timezone.now(),
    )
    me = get_me(sealed.secret).json()
    assert (me["is_narrow"], me["active_tenant_user_id"]) == (True, str(acme.tenant_user.id))
    assert (me["person"], me["companies"]) == (None, [])
    assert me["key"] == {
        "id": str(sealed.key.id),
        "name": "Sealed",
        "cap_credits": None,
        "cap_period": None,
        "requests_per_minute": 7,
    }


@pytest.mark.parametrize("place", ["cookie", "query", "path"])
def test_key_is_taken_from_its_header_alone(acme: factories.Cast, place: str) -> None:
    client = Client()
    client.cookies["api_key"] = acme.secret if place == "cookie" else ""
    path = f"/v1/auth/me/{acme.secret}" if place == "path" else "/v1/auth/me"
    answer = client.get(path, {"api_key": acme.secret} if place == "query" else {})
    assert answer.status_code == (404 if place == "path" else 401)
    assert place == "path" or error(answer)["hint"]
