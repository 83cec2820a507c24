"""/v1/account-kits: kits are kept, given to users, looked at beforehand; each company's own alone."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts import tenants
from accounts.models import AccountKit, AuditEntry, TenantUser
from llm import catalog
from tests import factories
from tests.races import at_once

MODELS = [
    "anthropic/claude-opus",
    "anthropic/claude-haiku",
    "openai/gpt-5",
    "openai/gpt-5:free",
    "meta/llama",
]


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


@pytest.fixture
def _catalogue() -> Iterator[None]:
    with connection.cursor() as cursor:
        catalog.save(orjson.dumps({"data": [{"id": model} for model in MODELS]}), cursor.execute)
        yield
        cursor.execute("DELETE FROM llm_catalog_snapshot")


def ask(member: factories.Cast, method: str, url: str, body: Any = None, **headers: str) -> Any:
    # Django's client would send an empty form otherwise.
    given = b"" if body is None else body
    sent = {} if method == "get" else {"data": given, "content_type": "application/json"}
    headers = {"Authorization": member.authorization} | headers
    return getattr(Client(), method)(f"/v1/account-kits{url}", headers=headers, **sent)


def make(member: factories.Cast, **given: Any) -> dict[str, Any]:
    answer = ask(member, "post", "", {"name": f"Kit {uuid4()}"} | given)
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def users(member: factories.Cast, count: int, **given: Any) -> list[TenantUser]:
    now = timezone.now()
    return [tenants.create(company_id=member.company_id, now=now, **given) for _ in range(count)]


def error(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    return found


def entries(member: factories.Cast, target_id: object) -> list[AuditEntry]:
    rows = AuditEntry.objects.filter(company_id=member.company_id, target_id=str(target_id))
    return list(rows.order_by("created_at", "id"))


def kits_of(member: factories.Cast) -> set[UUID]:
    return set(
        TenantUser.objects.filter(company_id=member.company_id).values_list("account_kit_id", flat=True)
    )


def llm(**defaults: Any) -> dict[str, Any]:
    return {"llm": {"defaults": defaults}}


def test_kit_is_created_and_read_with_its_etag(acme: factories.Cast) -> None:
    config = llm(allowed_models=["openai/*"], max_cost_usd_per_call=0.05)

    made = make(acme, name="Free", description="For trials", primitives_config=config)

    answer = ask(acme, "get", f"/{made['id']}")
    assert answer.json() == made
    assert answer.headers["ETag"] == made["etag"] == '"v1"'
    assert (made["primitives_config"], made["connections_config"]) == (config, {"mode": "open"})
    assert (made["name"], made["description"], made["is_default"]) == ("Free", "For trials", False)


def test_patch_merges_per_primitive_and_null_removes(acme: factories.Cast) -> None:
    made = make(
        acme, primitives_config={**llm(max_tokens=9, requests_per_minute=3), "mail": {"enabled": False}}
    )

    change = {"mail": None, "voice": {"enabled": True}, **llm(max_tokens=None, denied_models=["x/*"])}
    answer = ask(acme, "patch", f"/{made['id']}", {"primitives_config": change})

    assert answer.status_code == 200
    assert answer.json()["primitives_config"] == {
        "voice": {"enabled": True},
        **llm(requests_per_minute=3, denied_models=["x/*"]),
    }
    assert answer.headers["ETag"] == answer.json()["etag"] == '"v2"'


def test_every_change_has_its_own_etag_and_no_change_has_none(acme: factories.Cast) -> None:
    made, other = make(acme), make(acme)
    etags = [made["etag"]]
    for body in ({"name": "Renamed"}, {"name": "Renamed"}, {"is_default": True}):
        etags.append(ask(acme, "patch", f"/{made['id']}", body).headers["ETag"])
    # What another kit's becoming the default changes here, too.
    ask(acme, "patch", f"/{other['id']}", {"is_default": True})
    etags.append(ask(acme, "get", f"/{made['id']}").headers["ETag"])
    assert etags == ['"v1"', '"v2"', '"v2"', '"v3"', '"v4"']


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_change_of_what_was_not_read_is_refused_with_the_etag_now(acme: factories.Cast, method: str) -> None:
    made = make(acme)
    ask(acme, "patch", f"/{made['id']}", {"name": "By the first"})
    body = {"name": "By the second"} if method == "patch" else None

    answer = ask(acme, method, f"/{made['id']}", body, **{"If-Match": made["etag"]})

    assert (answer.status_code, error(answer)["code"]) == (412, "precondition_failed")
    assert error(answer)["details"]["etag"] == '"v2"'
    assert ask(acme, "get", f"/{made['id']}").json()["name"] == "By the first"
    again = ask(acme, method, f"/{made['id']}", body, **{"If-Match": error(answer)["details"]["etag"]})
    assert again.status_code == 200


@pytest.mark.parametrize("header", ["*", '"v1"', 'W/"v1"', '"v7", "v1"'])
def test_change_of_what_was_read_is_made(acme: factories.Cast, header: str) -> None:
    made = make(acme)
    assert ask(acme, "patch", f"/{made['id']}", {"name": "Mine"}, **{"If-Match": header}).status_code == 200


@pytest.mark.parametrize("header", ["", "v1", "1", '"v1'])
def test_if_match_that_is_no_etag_is_refused(acme: factories.Cast, header: str) -> None:
    made = make(acme)

    answer = ask(acme, "patch", f"/{made['id']}", {"name": "Mine"}, **{"If-Match": header})

    assert (answer.status_code, error(answer)["details"]) == (400, {"field": "If-Match"})
    assert ask(acme, "get", f"/{made['id']}").json() == made


def test_of_editors_at_once_one_is_heard(acme: factories.Cast) -> None:
    made = make(acme)

    def edit(name: str) -> Any:
        return ask(acme, "patch", f"/{made['id']}", {"name": name}, **{"If-Match": made["etag"]})

    answers = at_once(*[lambda name=name: edit(name) for name in ("Ann's", "Bob's", "Cas's", "Dan's")])

    statuses = [answer.status_code for answer in answers if not isinstance(answer, Exception)]
    assert sorted(statuses) == [200, 412, 412, 412]
    kept = ask(acme, "get", f"/{made['id']}").json()
    (heard,) = [answer for answer in answers if answer.status_code == 200]  # type: ignore[union-attr]
    assert kept == heard.json()  # type: ignore[union-attr]
    assert kept["etag"] == '"v2"'


def test_known_kit_is_not_sent_again(acme: factories.Cast) -> None:
    made = make(acme)

    answer = ask(acme, "get", f"/{made['id']}", **{"If-None-Match": made["etag"]})

    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", made["etag"])
    ask(acme, "patch", f"/{made['id']}", {"name": "Other"})
    assert ask(acme, "get", f"/{made['id']}", **{"If-None-Match": made["etag"]}).status_code == 200


def test_answer_under_an_idempotency_key_has_its_etag_again(acme: factories.Cast) -> None:
    body, key = {"name": "Once"}, {"Idempotency-Key": "k1"}

    first, again = (ask(acme, "post", "", body, **key) for _ in range(2))

    assert (first.status_code, first.content) == (201, again.content)
    assert first.headers["ETag"] == again.headers["ETag"] == '"v1"'
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (llm(allowed_models=["a/*", "b/*", 7]), "primitives_config.llm.defaults.allowed_models[2]"),
        (llm(denied_models=["a/?"]), "primitives_config.llm.defaults.denied_models[0]"),
        (llm(allowed_models="a/*"), "primitives_config.llm.defaults.allowed_models"),
        (llm(max_tokens=0), "primitives_config.llm.defaults.max_tokens"),
        (llm(max_tokens=True), "primitives_config.llm.defaults.max_tokens"),
        (llm(monthly_credits_per_user=-1), "primitives_config.llm.defaults.monthly_credits_per_user"),
        (llm(max_token=5), "primitives_config.llm.defaults.max_token"),
        ({"llm": {"enabled": "no"}}, "primitives_config.llm.enabled"),
        ({"llm": {"enable": True}}, "primitives_config.llm.enable"),
        ({"llm": True}, "primitives_config.llm"),
        ({"mail": []}, "primitives_config.mail"),
        ({"mail": {"defaults": {"n": 10**30}}}, "primitives_config"),
        ({"mail": {"defaults": {"x": "y" * 65_536}}}, "primitives_config"),
        ([], "primitives_config"),
        ("llm", "primitives_config"),
    ],
)
def test_mistake_in_a_configuration_is_told_by_its_path(acme: factories.Cast, given: Any, path: str) -> None:
    body = {"name": "Free", "primitives_config": given}
    url = f"/{acme.kit.id}"

    for answer in (
        ask(acme, "post", "", body),
        ask(acme, "patch", url, {"primitives_config": given}),
        ask(acme, "post", f"{url}/preview", {"primitives_config": given}),
    ):
        assert (answer.status_code, error(answer)["code"]) == (400, "invalid_input")
        assert error(answer)["message"].startswith(f"{path}: ")
        assert error(answer)["details"]["field"] == path


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x", "connections_config": {"mode": "shut"}}, "connections_config.mode"),
        ({"name": "x", "is_default": 1}, "is_default"),
        ({"name": "x", "company_id": "0197"}, "company_id"),
        ({"name": "x", "version": 7}, "version"),
        ({"name": "x", "prompt_retention_days": 0}, "prompt_retention_days"),
        ({"name": "x", "prompt_retention_days": 366}, "prompt_retention_days"),
        ({"name": "x", "prompt_retention_days": "7"}, "prompt_retention_days"),
    ],
    ids=str,
)
def test_bad_body_is_refused_by_name(acme: factories.Cast, given: dict[str, Any], field: str) -> None:
    answer = ask(acme, "post", "", given)

    assert (answer.status_code, error(answer)["details"]["field"]) == (400, field)


def test_prompts_are_stored_when_a_kit_says_so_and_null_ends_it(acme: factories.Cast) -> None:
    made = make(acme)
    changed = ask(acme, "patch", f"/{made['id']}", {"prompt_retention_days": 7}).json()
    ended = ask(acme, "patch", f"/{made['id']}", {"prompt_retention_days": None}).json()

    assert [kit["prompt_retention_days"] for kit in (made, changed, ended)] == [None, 7, None]
    assert len({kit["etag"] for kit in (made, changed, ended)}) == 3


def test_name_that_is_taken_is_told_with_its_kit(acme: factories.Cast) -> None:
    made = make(acme, name="Free")

    answer = ask(acme, "post", "", {"name": "Free"})

    assert (answer.status_code, error(answer)["code"]) == (409, "duplicate_record")
    assert error(answer)["details"] == {"field": "name", "existing_id": made["id"]}


def test_default_or_used_kit_is_kept_and_a_free_one_goes(acme: factories.Cast) -> None:
    made = make(acme)
    users(acme, 2, account_kit_id=UUID(made["id"]))

    used, default = ask(acme, "delete", f"/{made['id']}"), ask(acme, "delete", f"/{acme.kit.id}")

    assert [(answer.status_code, error(answer)["code"]) for answer in (used, default)] == [
        (409, "conflict")
    ] * 2
    assert error(used)["details"] == {"users": 2, "keys": 0}
    ask(acme, "post", f"/{acme.kit.id}/assign", {"from_kit_id": made["id"]})
    gone = ask(acme, "delete", f"/{made['id']}")
    assert (gone.status_code, gone.json()) == (200, {"id": made["id"], "deleted": True})
    assert ask(acme, "get", f"/{made['id']}").status_code == 404


def test_list_counts_each_kits_users_in_as_many_queries_as_one_kit(acme: factories.Cast) -> None:
    made = make(acme, name="Pro plan")
    users(acme, 2, account_kit_id=UUID(made["id"]))

    def listed() -> tuple[int, list[dict[str, Any]]]:
        with CaptureQueriesContext(connection) as queries:
            answer = ask(acme, "get", "?limit=200")
        return len(queries), answer.json()["account_kits"]

    few, rows = listed()
    assert {row["id"]: row["users"] for row in rows} == {made["id"]: 2, str(acme.kit.id): 1}
    assert {name: value for name, value in rows[0].items() if name != "users"} == made
    for _ in range(9):
        make(acme)
    assert listed()[0] == few <= 5
    (found,) = ask(acme, "get", "?search=pRO").json()["account_kits"]
    assert found["id"] == made["id"]


def test_list_of_kits_is_paged_to_its_end(acme: factories.Cast) -> None:
    made = {make(acme)["id"] for _ in range(4)} | {str(acme.kit.id)}
    first = ask(acme, "get", "?limit=3").json()
    second = ask(acme, "get", f"?limit=3&cursor={first['next_cursor']}").json()
    assert [len(page["account_kits"]) for page in (first, second)] == [3, 2]
    assert {kit["id"] for page in (first, second) for kit in page["account_kits"]} == made
    assert second["next_cursor"] is None


def test_user_is_given_a_kit_by_each_of_its_names(acme: factories.Cast) -> None:
    made = make(acme)
    (alice,) = users(acme, 1, external_id="alice")

    for name, user_id in (("ext:alice", alice.id), ("default", acme.tenant_user.id)):
        answer = ask(acme, "post", f"/{made['id']}/users/{name}/assign")
        assert (answer.status_code, answer.json()["account_kit_id"]) == (200, made["id"])
        assert answer.json()["id"] == str(user_id)

    entry = entries(acme, alice.id)[-1]
    assert (entry.action, entry.before) == ("account_kit.assigned", {"account_kit_id": str(acme.kit.id)})
    assert entry.after == {"account_kit_id": made["id"]}


def test_named_users_are_given_a_kit_together(acme: factories.Cast) -> None:
    made = make(acme)
    first, second = users(acme, 2)
    users(acme, 1, external_id="alice")
    named = [str(first.id), str(first.id), "ext:alice", "default"]

    answer = ask(acme, "post", f"/{made['id']}/assign", {"user_ids": named})

    assert answer.json() == {"account_kit_id": made["id"], "assigned": 3, "unchanged": 0}
    assert TenantUser.objects.get(id=second.id).account_kit_id == acme.kit.id
    again = ask(acme, "post", f"/{made['id']}/assign", {"user_ids": named})
    assert (again.json()["assigned"], again.json()["unchanged"]) == (0, 3)
    entry = entries(acme, made["id"])[1]
    assert (entry.action, entry.after) == ("account_kit.assigned", {"users_by_kit": {made["id"]: 3}})
    assert entry.before is not None
    assert str(first.id) in entry.before["users_by_kit"][str(acme.kit.id)]


def test_of_named_users_one_is_missing_and_none_is_changed(acme: factories.Cast) -> None:
    made, theirs = make(acme), factories.globex().tenant_user.id
    (mine,) = users(acme, 1)

    bodies = []
    for stranger in (theirs, uuid4()):
        answer = ask(acme, "post", f"/{made['id']}/assign", {"user_ids": [str(mine.id), str(stranger)]})
        assert (answer.status_code, error(answer)["details"]) == (404, {"users": [str(stranger)]})
        bodies.append(error(answer)["message"].replace(str(stranger), "…"))

    assert bodies[0] == bodies[1]
    assert kits_of(acme) == {acme.kit.id}
    assert [entry.action for entry in entries(acme, made["id"])] == ["account_kit.created"]


def test_everybody_of_a_kit_or_everybody_is_given_another(acme: factories.Cast) -> None:
    globex = factories.globex()
    free, pro = make(acme), make(acme)
    users(acme, 3, account_kit_id=UUID(free["id"]))

    upgraded = ask(acme, "post", f"/{pro['id']}/assign", {"from_kit_id": free["id"]}).json()
    everybody = ask(acme, "post", f"/{pro['id']}/assign", {"all": True}).json()

    assert (upgraded["assigned"], upgraded["unchanged"]) == (3, 0)
    assert (everybody["assigned"], everybody["unchanged"]) == (1, 3)
    assert kits_of(acme) == {UUID(pro["id"])}
    assert kits_of(globex) == {globex.kit.id}
    entry = entries(acme, pro["id"])[-1]
    assert entry.before == {"users_by_kit": {pro["id"]: 3, str(acme.kit.id): 1}}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"all": False},
        {"all": True, "user_ids": ["default"]},
        {"user_ids": []},
        {"user_ids": ["default"] * 1001},
        {"user_ids": [7]},
        {"from_kit_id": "free"},
        {"everybody": True},
    ],
    ids=lambda body: str(body)[:40],
)
def test_assignment_that_names_nobody_for_sure_is_refused(acme: factories.Cast, body: dict[str, Any]) -> None:
    made = make(acme)

    answer = ask(acme, "post", f"/{made['id']}/assign", body)

    assert (answer.status_code, error(answer)["code"]) == (400, "invalid_input")
    assert kits_of(acme) == {acme.kit.id}


def test_assignments_of_everybody_at_once_take_turns(acme: factories.Cast) -> None:
    free, pro = make(acme), make(acme)
    users(acme, 30)

    def assign(kit: dict[str, Any]) -> Any:
        return ask(acme, "post", f"/{kit['id']}/assign", {"all": True})

    answers = at_once(*[lambda kit=kit: assign(kit) for kit in (free, pro, free, pro)])

    assert [getattr(answer, "status_code", answer) for answer in answers] == [200] * 4
    assert kits_of(acme) in ({UUID(free["id"])}, {UUID(pro["id"])})


@pytest.mark.usefixtures("_catalogue")
def test_preview_says_what_would_change_and_changes_nothing(acme: factories.Cast) -> None:
    made = make(acme, primitives_config=llm(allowed_models=["openai/*"], max_tokens=100))
    (user, _) = users(acme, 2, account_kit_id=UUID(made["id"]))
    factories.with_key(acme, account_kit_id=UUID(made["id"]))
    factories.with_key(acme, active_tenant_user_id=user.id)
    change = {"mail": {"enabled": False}, **llm(allowed_models=["anthropic/*", "*:free"], max_tokens=None)}

    answer = ask(acme, "post", f"/{made['id']}/preview", {"primitives_config": change})

    found = answer.json()
    path = "primitives_config.llm.defaults"
    assert answer.status_code == 200
    assert found["changes"] == [
        {"path": f"{path}.allowed_models", "before": ["openai/*"], "after": ["anthropic/*", "*:free"]},
        {"path": f"{path}.max_tokens", "before": 100, "after": None},
        {"path": "primitives_config.mail.enabled", "before": None, "after": False},
    ]
    assert (found["users"], found["keys"], found["etag"]) == (2, 2, made["etag"])
    assert found["models"] == {
        "known": 5,
        "allowed_before": 2,
        "allowed_after": 3,
        "allowed": {"count": 2, "names": ["anthropic/claude-opus", "anthropic/claude-haiku"]},
        "denied": {"count": 1, "names": ["openai/gpt-5"]},
    }
    assert ask(acme, "get", f"/{made['id']}").json() == made
    done = ask(acme, "patch", f"/{made['id']}", {"primitives_config": change}).json()
    assert found["primitives_config"] == done["primitives_config"]


def effective(member: factories.Cast, kit_id: object) -> dict[str, Any]:
    answer = ask(member, "get", f"/{kit_id}/effective")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.usefixtures("_catalogue")
def test_effective_rules_say_what_is_allowed_and_by_whom(acme: factories.Cast, settings: Settings) -> None:
    settings.REQUESTS_PER_MINUTE, settings.MAX_CALLS_PER_COMPANY = 0, 40
    config = {
        "mail": {"enabled": False, "requiresApproval": True, "defaults": {"from": "us"}},
        **llm(denied_models=["openai/*"], max_cost_usd_per_call=0.05, provider_required={"zdr": True}),
    }

    found = effective(acme, make(acme, primitives_config=config)["id"])

    limits = {limit["name"]: (limit["value"], limit["source"]) for limit in found["limits"]}
    assert limits == {
        "max_tokens": (None, "none"),
        "max_cost_usd_per_call": (0.05, "account_kit"),
        "monthly_credits_per_user": (None, "none"),
        "requests_per_minute": (None, "none"),
        "requests_per_minute_per_key": (None, "none"),
        "calls_at_once_per_company": (40, "platform"),
    }
    opened, closed = found["primitives"]
    assert (opened["name"], opened["enabled"], opened["source"]) == ("llm", True, "none")
    assert (closed["name"], closed["enabled"], closed["source"]) == ("mail", False, "account_kit")
    assert (closed["requires_approval"], closed["defaults"]) == (True, {"from": "us"})
    assert found["llm"]["provider_required"] == {"zdr": True}
    allowed = ["anthropic/claude-opus", "anthropic/claude-haiku", "meta/llama"]
    assert found["models"] == {"known": 5, "count": 3, "names": allowed}


@pytest.mark.usefixtures("_catalogue")
@pytest.mark.parametrize("config", [{"llm": {"enabled": False}}, {"llm": {"defaults": {"max_tokens": -1}}}])
def test_closed_or_unreadable_kit_allows_no_model(acme: factories.Cast, config: dict[str, Any]) -> None:
    made = make(acme)
    AccountKit.objects.filter(id=made["id"]).update(primitives_config=config)

    found = effective(acme, made["id"])

    assert found["models"] == {"known": 5, "count": 0, "names": []}
    assert [(row["name"], row["enabled"]) for row in found["primitives"]] == [("llm", False)]
    assert (found["fault"] is None) == (config == {"llm": {"enabled": False}})


ROUTES = [
    ("get", "/{}", None),
    ("patch", "/{}", {"name": "Mine"}),
    ("delete", "/{}", None),
    ("get", "/{}/effective", None),
    ("post", "/{}/preview", {}),
    ("post", "/{}/assign", {"all": True}),
    ("post", "/{}/users/default/assign", None),
]


@pytest.mark.parametrize(("method", "url", "body"), ROUTES, ids=str)
def test_kit_of_globex_is_answered_as_an_unknown_one(
    acme: factories.Cast, method: str, url: str, body: Any
) -> None:
    theirs = make(factories.globex())["id"]

    bodies = []
    for kit_id in (theirs, str(uuid4()), "x"):
        answer = ask(acme, method, url.format(kit_id), body)
        assert answer.status_code == 404
        bodies.append(
            error(answer)["message"].replace(f" {kit_id} ", " … ") + str(error(answer).get("details"))
        )

    assert bodies == [bodies[0]] * 3
    kept = AccountKit.objects.get(id=theirs)
    assert (kept.version, kits_of(acme)) == (1, {acme.kit.id})


def test_user_or_former_kit_of_globex_is_answered_as_an_unknown_one(acme: factories.Cast) -> None:
    globex, made = factories.globex(), make(acme)
    for theirs, path, body in (
        (globex.tenant_user.id, "/users/{}/assign", None),
        (globex.kit.id, "/assign", {"from_kit_id": str(globex.kit.id)}),
    ):
        unknown = uuid4()
        found = [
            ask(acme, "post", f"/{made['id']}{path.format(named)}", body and {"from_kit_id": str(named)})
            for named in (theirs, unknown)
        ]
        assert [answer.status_code for answer in found] == [404, 404]
        said = [error(answer)["message"] for answer in found]
        assert said[0].replace(str(theirs), str(unknown)) == said[1]
    assert kits_of(globex) == {globex.kit.id}


def test_each_mutation_leaves_one_entry_with_what_differs(acme: factories.Cast) -> None:
    made = make(acme, primitives_config=llm(max_tokens=100))
    url = f"/{made['id']}"
    ask(acme, "patch", url, {"primitives_config": llm(max_tokens=50)})
    ask(acme, "patch", url, {"name": "Wrong", "is_default": False, "connections_config": {"mode": "no"}})
    ask(acme, "post", f"{url}/preview", {"primitives_config": {}})
    answer = ask(acme, "delete", url)

    created, updated, deleted = entries(acme, made["id"])

    assert [entry.action.removeprefix("account_kit.") for entry in (created, updated, deleted)] == [
        *("created", "updated", "deleted")
    ]
    assert updated.before == {"primitives_config": llm(max_tokens=100)}
    assert updated.after == {"primitives_config": llm(max_tokens=50)}
    assert (created.before, deleted.after) == (None, None)
    assert deleted.before is not None
    assert deleted.before["primitives_config"] == llm(max_tokens=50)
    assert (deleted.actor_id, deleted.request_id) == (acme.key.id, answer.headers["X-Request-Id"])


def test_former_default_leaves_an_entry_too(acme: factories.Cast) -> None:
    made = make(acme, is_default=True)

    entry = entries(acme, acme.kit.id)[-1]

    assert (entry.action, entry.before, entry.after) == (
        *("account_kit.updated", {"is_default": True}, {"is_default": False}),
    )
    assert made["is_default"] is True


def test_narrow_keys_and_lesser_roles_change_nothing(acme: factories.Cast) -> None:
    sealed, member = (
        factories.with_key(acme, active_tenant_user_id=acme.tenant_user.id),
        factories.with_key(acme),
    )
    for method, url, body in ROUTES:
        narrow = ask(sealed, method, url.format(acme.kit.id), body)
        assert (narrow.status_code, error(narrow)["details"]) == (403, {"reason": "key_scope"})
        is_read = method == "get" or url.endswith("preview")
        assert ask(member, method, url.format(acme.kit.id), body).status_code == (200 if is_read else 403)
    assert AccountKit.objects.get(id=acme.kit.id).version == 1
