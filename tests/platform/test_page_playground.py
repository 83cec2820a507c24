"""The playground: whose token the page gets, for how long, by which key, and what the page says before it has one."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import auth, companies, keys, sessions, tenants
from accounts.auth import Principal
from accounts.errors import Forbidden, NotFound, Unauthorized
from accounts.models import APIKey, AuditEntry, Role, TenantUser
from accounts.session_models import UserSession
from llm import catalog
from tests import factories
from tests.conftest import Run
from tests.factories import Cast
from tests.platform.calls import client_of, page_of
from tests.platform.people import colleague

PLAYGROUND = "/dashboard/playground/"
QUERIES_MAX = 12
NAMES = ("openai/gpt-4o-mini", "openai/gpt-4o", "acme/one")


@pytest.fixture(autouse=True)
def _catalogue() -> Iterator[None]:
    with connection.cursor() as cursor:
        catalog.save(orjson.dumps({"data": [{"id": name} for name in NAMES]}), cursor.execute)
        yield
        cursor.execute("DELETE FROM llm_catalog_snapshot")


def ada(member: Cast, **given: Any) -> TenantUser:
    return tenants.create(company_id=member.company_id, label="Ada", now=timezone.now(), **given)


def begin(client: Client, user_id: object) -> Any:
    return client.post(f"{PLAYGROUND}begin/", {"user_id": user_id})


def principal(run: Run, token: str) -> Principal:
    return run(auth.authenticate(f"Bearer {token}"))


# The token


def test_token_is_the_users_for_a_quarter_of_an_hour(run: Run) -> None:
    acme = factories.acme()
    user = ada(acme)

    told = begin(client_of(acme.owner), user.id).json()

    found = principal(run, told["token"])
    assert (found.company_id, found.sealed_user_id) == (acme.company_id, user.id)
    assert (found.key_role, found.key_name, found.is_narrow) == ("member", sessions.PLAYGROUND, True)
    session = UserSession.objects.get(id=told["session_id"])
    assert 0 < (session.expires_at - timezone.now()).total_seconds() <= sessions.TTL_S


def test_token_opens_nothing_once_the_page_is_left(run: Run) -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    told = begin(client, acme.tenant_user.id).json()

    answer = client.post(f"{PLAYGROUND}end/", {"user_id": told["user_id"], "session_id": told["session_id"]})

    assert answer.status_code == 204
    with pytest.raises(Unauthorized):
        principal(run, told["token"])


def test_one_key_a_person_issues_all_tokens_and_nobody_has_its_secret() -> None:
    acme = factories.acme()
    second = colleague(acme, "member")
    for person in (acme.owner, acme.owner, second):
        assert begin(client_of(person), acme.tenant_user.id).status_code == 200

    found = APIKey.objects.filter(company_id=acme.company_id, name=sessions.PLAYGROUND)
    assert {(key.created_by_id, key.role, key.is_personal) for key in found} == {
        (acme.owner.id, "member", False),
        (second.id, "member", False),
    }
    assert found.count() == 2


def test_revoking_the_key_ends_its_tokens_and_the_next_one_has_a_new_key(run: Run) -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    before = begin(client, acme.tenant_user.id).json()
    key = APIKey.objects.get(company_id=acme.company_id, name=sessions.PLAYGROUND)
    keys.revoke(company_id=acme.company_id, key_id=key.id, now=timezone.now())

    after = begin(client, acme.tenant_user.id).json()

    with pytest.raises(Unauthorized):
        principal(run, before["token"])
    assert principal(run, after["token"]).key_id != key.id


def test_cap_on_the_key_holds_for_the_playground(run: Run) -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    begin(client, acme.tenant_user.id)
    key = APIKey.objects.get(company_id=acme.company_id, name=sessions.PLAYGROUND)
    keys.update(
        company_id=acme.company_id,
        key_id=key.id,
        changes={"cap_credits": 1, "cap_period": "day"},
        now=timezone.now(),
    )

    found = principal(run, begin(client, acme.tenant_user.id).json()["token"])

    assert found.key_id == key.id
    assert (found.cap_credits, found.cap_period) == (Decimal(1), "day")


def test_key_of_another_kind_by_this_name_issues_none(run: Run) -> None:
    acme = factories.acme()
    other = factories.with_key(acme, name=sessions.PLAYGROUND, role=Role.ADMIN.value)

    found = principal(run, begin(client_of(acme.owner), acme.tenant_user.id).json()["token"])

    assert found.key_id != other.key.id


def test_who_leaves_the_company_takes_the_playground_along(run: Run) -> None:
    acme = factories.acme()
    person = colleague(acme, "member")
    told = begin(client_of(person), acme.tenant_user.id).json()

    companies.remove_member(company_id=acme.company_id, user_id=person.id, now=timezone.now())

    with pytest.raises(Unauthorized):
        principal(run, told["token"])


def test_token_leaves_an_entry_of_the_person_and_none_of_the_secret() -> None:
    acme = factories.acme()
    told = begin(client_of(acme.owner), acme.tenant_user.id).json()

    entry = AuditEntry.objects.get(company_id=acme.company_id, action="user_session.created")
    assert (entry.target_id, entry.actor_label) == (told["session_id"], acme.owner.email)
    assert told["token"] not in json.dumps(entry.after)


# Who may not


def test_viewer_gets_no_token_and_reads_why() -> None:
    acme = factories.acme()
    client = client_of(colleague(acme, "viewer"))

    page = client.get(PLAYGROUND).content.decode()
    assert "This takes the role member, and you are viewer" in page
    assert 'id="send" disabled' in page
    assert begin(client, acme.tenant_user.id).status_code == 403
    assert client.post(f"{PLAYGROUND}end/", {}).status_code == 403
    assert not UserSession.objects.filter(company_id=acme.company_id).exists()
    assert not APIKey.objects.filter(company_id=acme.company_id, name=sessions.PLAYGROUND).exists()


def test_globexs_user_is_not_found_and_no_key_is_made() -> None:
    acme, globex = factories.acme(), factories.globex()
    client = client_of(acme.owner)

    for user_id in (globex.tenant_user.id, uuid4(), "me", ""):
        assert begin(client, user_id).status_code == 404
        assert client.get(PLAYGROUND, {"user": str(user_id or "x")}).status_code == 404
    assert not APIKey.objects.filter(company_id=acme.company_id, name=sessions.PLAYGROUND).exists()


def test_globex_cannot_end_acmes_token(run: Run) -> None:
    acme, globex = factories.acme(), factories.globex()
    told = begin(client_of(acme.owner), acme.tenant_user.id).json()

    answer = client_of(globex.owner).post(
        f"{PLAYGROUND}end/", {"user_id": told["user_id"], "session_id": told["session_id"]}
    )

    assert answer.status_code == 404
    assert principal(run, told["token"]).sealed_user_id == acme.tenant_user.id


def test_suspended_users_calls_are_refused_in_words() -> None:
    acme = factories.acme()
    user = ada(acme)
    tenants.suspend(company_id=acme.company_id, user_id=user.id)
    client = client_of(acme.owner)

    answer = begin(client, user.id)

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert "is suspended" in answer.json()["error"]["message"]
    assert "This user is suspended" in client.get(PLAYGROUND, {"user": str(user.id)}).content.decode()


def test_suspended_company_gets_no_token() -> None:
    acme = factories.acme()
    companies.suspend(company_id=acme.company_id)

    assert begin(client_of(acme.owner), acme.tenant_user.id).status_code == 403


@pytest.mark.parametrize("path", ["begin/", "end/"])
def test_token_takes_a_post_with_the_pages_own_proof(path: str) -> None:
    acme = factories.acme()
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(acme.owner)

    assert client_of(acme.owner).get(f"{PLAYGROUND}{path}").status_code == 405
    assert strict.post(f"{PLAYGROUND}{path}", {"user_id": acme.tenant_user.id}).status_code == 403
    assert Client().post(f"{PLAYGROUND}{path}").status_code == 302


def test_person_of_another_company_is_given_nothing() -> None:
    acme, globex = factories.acme(), factories.globex()
    now = timezone.now()

    with pytest.raises(NotFound):
        sessions.issue_to_person(
            company_id=acme.company_id, user_id=acme.tenant_user.id, person_id=globex.owner.id, now=now
        )
    with pytest.raises(Forbidden):
        sessions.issue_to_person(
            company_id=acme.company_id,
            user_id=acme.tenant_user.id,
            person_id=colleague(acme, "viewer").id,
            now=now,
        )


# The page


def test_page_has_no_token_and_no_key() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    begin(client, acme.tenant_user.id)

    page = client.get(PLAYGROUND).content.decode()

    assert "nv_sess_" not in page
    assert "nv_sk_live_" not in page


def test_users_are_found_by_the_beginning_of_their_name() -> None:
    acme = factories.acme()
    user = ada(acme)
    tenants.create(company_id=acme.company_id, label="Grace", now=timezone.now())

    page = page_of(acme.owner, f"{PLAYGROUND}?q=ad&user={user.id}")

    assert f'<option value="{user.id}" selected>Ada</option>' in page
    assert "Grace" not in page


def test_models_offered_are_those_that_the_users_kit_allows() -> None:
    acme = factories.acme()
    factories.set_llm(acme, {"defaults": {"allowed_models": ["acme/*"]}})

    page = page_of(acme.owner, PLAYGROUND)

    assert page.count('<option value="acme/one">') == 1
    assert '<option value="openai/gpt-4o"' not in page
    assert "allows 1 of 3 models" in page
    assert 'name="model" class="code" list="models" value="acme/one"' in page
    assert "The kit does not allow this one" in page_of(acme.owner, f"{PLAYGROUND}?model=openai/gpt-4o")


def test_with_htmx_only_the_choice_comes() -> None:
    acme = factories.acme()
    part = client_of(acme.owner).get(PLAYGROUND, headers={"HX-Request": "true"}).content.decode()

    assert part.lstrip().startswith('<div class="fields" id="choice"')
    assert f"/dashboard/kits/{acme.kit.id}/" in part
    assert "<html" not in part


def test_without_script_the_page_says_so_and_shows_the_call() -> None:
    acme = factories.acme()
    user = ada(acme)

    page = page_of(acme.owner, f"{PLAYGROUND}?user={user.id}&model=acme/one").replace("&quot;", '"')

    assert "The playground needs JavaScript" in page
    assert f"X-Naive-User-Id: {user.id}" in page
    assert '"model": "acme/one"' in page


@pytest.mark.parametrize("model", ["'; rm -rf ~ #", "a b", '"><script>', "x" * 300])
def test_models_name_of_an_address_never_gets_into_the_command(model: str) -> None:
    acme = factories.acme()

    page = client_of(acme.owner).get(PLAYGROUND, {"model": model}).content.decode().split("<main")[1]

    assert model not in page
    assert 'value="openai/gpt-4o-mini"' in page


def test_names_are_no_markup() -> None:
    acme = factories.acme()
    user = tenants.create(company_id=acme.company_id, label="<img src=x>", now=timezone.now())

    page = page_of(acme.owner, f"{PLAYGROUND}?user={user.id}&q=<img")

    assert "<img" not in page


def test_page_takes_a_fixed_number_of_queries() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    user = ada(acme)
    for address in (PLAYGROUND, f"{PLAYGROUND}?q=zzz&user={user.id}"):
        client.get(address)
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
        assert len(queries) <= QUERIES_MAX, address


def test_session_id_that_is_none_is_not_found() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)

    for session_id in (uuid4(), UUID(int=0), "x"):
        told = {"user_id": acme.tenant_user.id, "session_id": session_id}
        assert client.post(f"{PLAYGROUND}end/", told).status_code == 404
