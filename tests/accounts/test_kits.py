"""Kits: the gate they are, and how companies keep them."""

import functools
from collections.abc import Callable
from decimal import Decimal
from time import process_time
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import ids, keys, kit_configs, kits, tenants
from accounts.errors import Conflict, DuplicateRecord, Forbidden, InvalidInput, NotFound
from accounts.ids import AccountKitId
from accounts.kit_configs import LLMRules
from accounts.models import AccountKit, APIKey
from tests import factories, races

NOW = timezone.now()


def kit(config: dict[str, Any] | None = None) -> kits.Kit:
    given = config or {}
    return kits.Kit(
        id=AccountKitId(ids.uuid7()), name="Free plan", rules=kit_configs.parse(given), config=given
    )


def allows(model: str, *, allowed: list[str] | None = None, denied: list[str] | None = None) -> bool:
    found = None if allowed is None else tuple(allowed)
    return kits.allows_model(LLMRules(allowed_models=found, denied_models=tuple(denied or [])), model)


def make(member: factories.Cast, **given: Any) -> AccountKit:
    return kits.create(company_id=member.company_id, **{"name": "Free plan", "now": NOW, **given})


def scoped_key(member: factories.Cast, scope: AccountKit) -> APIKey:
    return keys.create(
        company_id=member.company_id,
        name="Scoped",
        role="member",
        created_by_id=member.owner.id,
        account_kit_id=scope.id,
        now=NOW,
    ).key


def test_only_enabled_false_closes_a_primitive() -> None:
    entries: list[dict[str, Any]] = [{}, {"enabled": True}, {"requiresApproval": True}]
    for config in [{}, *({"llm": entry} for entry in entries)]:
        kits.require_primitive(kit(config), "llm")
    with pytest.raises(Forbidden) as caught:
        kits.require_primitive(kit({"llm": {"enabled": False}}), "llm")
    assert caught.value.message == 'Not allowed by AccountKit "Free plan": primitive_disabled_by_kit'
    assert caught.value.details == {"reason": "primitive_disabled_by_kit", "primitive": "llm"}


def test_other_primitives_are_gated_alike() -> None:
    closed = kit({"mail": {"enabled": False}})
    kits.require_primitive(closed, "llm")
    with pytest.raises(Forbidden):
        kits.require_primitive(closed, "mail")


def test_every_candidate_model_must_pass() -> None:
    limited = kit({"llm": {"defaults": {"allowed_models": ["anthropic/*"]}}})
    kits.require_models(limited, ["anthropic/claude-sonnet-4.6", "anthropic/claude-haiku-4.5"])
    with pytest.raises(Forbidden) as caught:
        kits.require_models(limited, ["anthropic/claude-sonnet-4.6", "openai/gpt-5.2"])
    assert caught.value.message == 'Not allowed by AccountKit "Free plan": model_not_allowed_by_kit'
    reason = {"reason": "model_not_allowed_by_kit", "primitive": "llm", "model": "openai/gpt-5.2"}
    assert caught.value.details == reason


@pytest.mark.parametrize(
    ("model", "globs", "passes"),
    [
        ("anthropic/claude-sonnet-4.6", ["anthropic/*"], True),
        ("openai/gpt-5.2", ["anthropic/*"], False),
        ("openai/gpt-5.2", ["anthropic/*", "openai/gpt-5.2"], True),
        ("openai/gpt-5.2:nitro", ["openai/gpt-5.2"], False),
        ("openai/gpt-5.2:nitro", ["openai/gpt-5.2:*"], True),
        ("openai/gpt-5.2", ["openai/gpt-5.2:*"], False),
        ("meta-llama/llama-4:free", ["*:free"], True),
        ("meta-llama/llama-4", ["*:free"], False),
        ("OpenAI/gpt-5.2", ["openai/*"], False),
        ("openai/gpt-5X2", ["openai/gpt-5.2"], False),
        ("evil/openai/gpt-5.2", ["openai/*"], False),
        ("openai/gpt-5.2", [], False),
        ("openai/gpt-5.2", ["*"], True),
        ("openai/gpt-5.2\nx", ["openai/gpt-5.2"], False),
        ("~anthropic/claude-latest", ["anthropic/*"], False),
        ("", ["openai/*"], False),
        ("openai/gpt-5.2", ["*gpt*5*"], True),
        ("openai/gpt", ["openai/gpt*gpt"], False),
        ("openai/gpt", ["*openai/gpt*"], True),
        ("openai/gpt", ["**"], True),
        ("openai/gpt.mini", ["openai/*mini*mini"], False),
    ],
)
def test_allow_list_matches_the_model_as_written(model: str, globs: list[str], *, passes: bool) -> None:
    assert allows(model, allowed=globs) is passes


@pytest.mark.parametrize(
    ("model", "globs", "passes"),
    [
        ("openrouter/auto", ["*"], False),
        ("openrouter/auto", ["open*"], False),
        ("openrouter/auto", ["*/auto"], False),
        ("openrouter/auto", ["openrouter/auto"], True),
        ("openrouter/auto", ["openrouter/*"], True),
        ("openrouter/free", ["openrouter/auto"], False),
        ("@preset/mine", ["*"], False),
        ("@preset/mine", ["@*"], False),
        ("@preset/mine", ["@preset/mine"], True),
        ("@preset/mine", ["@preset/other"], False),
        ("openai/gpt-5.2@preset/mine", ["*"], False),
        ("openai/gpt-5.2@preset/mine", ["openai/*"], False),
        ("openai/gpt-5.2@preset/mine", ["openai/gpt-5.2"], False),
        ("openai/gpt-5.2@preset/mine", ["openai/gpt-5.2@preset/mine"], True),
        ("openrouter/auto@preset/mine", ["openrouter/*"], False),
        ("openrouter/auto@preset/mine", ["*@preset/mine"], False),
    ],
)
def test_presets_and_routers_pass_only_where_named(model: str, globs: list[str], *, passes: bool) -> None:
    assert allows(model, allowed=globs) is passes


@pytest.mark.parametrize("model", ["openrouter/auto", "@preset/mine", "openai/gpt-5.2@preset/mine"])
def test_without_an_allow_list_presets_and_routers_pass(model: str) -> None:
    assert allows(model)
    assert allows(model, denied=[])


@pytest.mark.parametrize("model", ["openrouter/auto", "@preset/mine", "openai/gpt-5.2@preset/mine"])
def test_beside_a_deny_list_presets_and_routers_pass_only_where_named(model: str) -> None:
    assert not allows(model, denied=["openai/o1-pro"])
    assert not allows(model, allowed=["*"], denied=["openai/o1-pro"])
    assert allows(model, allowed=["*", model], denied=["openai/o1-pro"])
    assert not allows(model, allowed=["*", model], denied=[model])
    assert not allows(model, allowed=["*", model], denied=["*"])


def test_deny_list_catches_a_denied_model_under_a_preset() -> None:
    assert not allows("openai/o1-pro@preset/x", allowed=["openai/o1-pro@preset/x"], denied=["openai/o1-pro"])


@pytest.mark.parametrize(
    ("model", "globs", "passes"),
    [
        ("openai/o1-pro:online", ["openai/o1-pro"], False),
        ("openai/o1-pro:online:nitro", ["openai/o1-pro"], False),
        ("openai/o1-pro:nitro:online", ["openai/o1-pro:online"], False),
        ("openai/o1-pro:online:nitro", ["openai/o1-pro:online"], False),
        ("openai/o1-pro", ["openai/o1-pro:online"], True),
        ("openai/o1-pro:nitro", ["openai/o1-pro:online"], True),
        ("openai/o1-pro-mini", ["openai/o1-pro"], True),
        ("meta/llama:free:online", ["*:free"], False),
        ("~openai/o1-pro:online", ["openai/o1-pro"], False),
        ("openai/gpt" + ":x" * 9, ["anthropic/*"], False),
        ("openai/gpt" + ":x" * 8, ["anthropic/*"], True),
    ],
)
def test_deny_list_catches_every_variant(model: str, globs: list[str], *, passes: bool) -> None:
    assert allows(model, denied=globs) is passes


def test_alias_passes_only_where_it_cannot_stand_for_a_denied_model() -> None:
    latest = "~anthropic/claude-opus-latest"
    assert allows(latest, denied=["openai/*", "anthropic-labs/x"])
    for glob in ("anthropic/claude-opus-4.6", "*:free", "anth*-4.6"):
        assert not allows(latest, denied=[glob])
        assert not allows(latest, allowed=["*"], denied=[glob])
        assert allows(latest, allowed=["~anthropic/*"], denied=[glob])


def test_deny_list_wins_over_the_allow_list() -> None:
    both: dict[str, Any] = {"allowed": ["openai/*"], "denied": ["openai/o1-*"]}
    assert allows("openai/gpt-5.2", **both)
    assert not allows("openai/o1-pro", **both)


def test_deny_list_catches_the_alias_of_a_denied_vendor() -> None:
    assert not allows("~anthropic/claude-latest", denied=["anthropic/*"])


def test_hostile_glob_is_matched_in_no_time() -> None:
    assert not allows("a" * 200, allowed=["*a" * 99 + "b"])


def test_five_hundred_globs_are_matched_the_first_time_in_ten_milliseconds() -> None:
    globs = [f"{'*a' * 60}{number}" for number in range(500)]
    began = process_time()
    assert not allows("a" * 256, denied=["openai/o1-pro"], allowed=globs)
    assert process_time() - began < 0.01


@pytest.mark.parametrize("config", [[], "x", None, {"llm": {"defaults": {"max_tokens": -1}}}])
def test_kit_that_cannot_be_read_is_closed(config: object) -> None:
    closed = kits.read(kit_id=AccountKitId(ids.uuid7()), name="Broken", config=config)
    with pytest.raises(Forbidden, match='"Broken": its configuration cannot be read') as caught:
        kits.require_primitive(closed, "llm")
    assert caught.value.details == {"reason": "primitive_disabled_by_kit", "primitive": "llm"}
    assert not kits.allows_model(closed.rules, "openai/gpt-5.2")


def test_kit_is_created_with_what_was_given() -> None:
    acme = factories.acme()
    made = make(acme, description="For trials", primitives_config={"llm": {"enabled": False}, "mail": None})
    found = kits.get(company_id=acme.company_id, kit_id=made.id)
    assert found.primitives_config == {"llm": {"enabled": False}}
    assert found.connections_config == {"mode": "open"}
    assert (found.name, found.description, found.is_default) == ("Free plan", "For trials", False)


def test_money_limits_survive_the_database_exactly() -> None:
    acme = factories.acme()
    limits = {"max_cost_usd_per_call": 0.1, "monthly_credits_per_user": Decimal("0.300000001")}
    made = make(acme, primitives_config={"llm": {"defaults": limits}})
    rules = kit_configs.parse(kits.get(company_id=acme.company_id, kit_id=made.id).primitives_config)
    exact = (Decimal("0.1"), Decimal("0.300000001"))
    assert (rules.max_cost_usd_per_call, rules.monthly_credits_per_user) == exact


def test_names_are_unique_in_the_company_only() -> None:
    acme, globex = factories.acme(), factories.globex()
    make(acme)
    make(globex)
    with pytest.raises(DuplicateRecord, match='"Free plan" is there already'):
        make(acme)
    with pytest.raises(DuplicateRecord):
        kits.update(company_id=acme.company_id, kit_id=acme.kit.id, changes={"name": "Free plan"})


def test_same_name_at_once_is_taken_once() -> None:
    acme = factories.acme()
    outcomes = races.at_once(*[lambda: make(acme)] * 4)
    assert sum(isinstance(outcome, AccountKit) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, DuplicateRecord) for outcome in outcomes) == 3


def test_new_default_takes_the_place_of_the_old_one() -> None:
    acme = factories.acme()
    made = make(acme)
    kits.update(company_id=acme.company_id, kit_id=made.id, changes={"is_default": True})
    assert not AccountKit.objects.get(id=acme.kit.id).is_default
    assert tenants.create(company_id=acme.company_id, now=NOW).account_kit_id == made.id


def test_company_is_never_without_a_default_kit() -> None:
    acme = factories.acme()
    with pytest.raises(Conflict, match="is the default"):
        kits.update(company_id=acme.company_id, kit_id=acme.kit.id, changes={"is_default": False})


def test_every_way_of_changing_a_kit_counts() -> None:
    made = make(factories.acme(), is_default=True)
    assert AccountKit.objects.get(id=made.id).version == made.version == 1
    row = AccountKit.objects.filter(id=made.id)
    row.update(description="By hand")
    row.update(description="By hand")
    row.update(description="Backwards", version=1)
    assert row.get().version == 3


def test_two_defaults_at_once_leave_one() -> None:
    acme = factories.acme()
    both = [make(acme, name="One"), make(acme, name="Two")]

    def promote(one: AccountKit) -> AccountKit:
        return kits.update(company_id=acme.company_id, kit_id=one.id, changes={"is_default": True})

    outcomes = races.at_once(lambda: promote(both[0]), lambda: promote(both[1]))
    assert all(isinstance(outcome, AccountKit) for outcome in outcomes), outcomes
    assert AccountKit.objects.filter(company_id=acme.company_id, is_default=True).count() == 1


def test_patches_at_once_lose_nothing() -> None:
    acme = factories.acme()

    def patch(primitive: str) -> AccountKit:
        changes = {"primitives_config": {primitive: {"enabled": False}}}
        return kits.update(company_id=acme.company_id, kit_id=acme.kit.id, changes=changes)

    races.at_once(*[lambda name=name: patch(name) for name in ("a", "b", "c", "d")])
    assert set(AccountKit.objects.get(id=acme.kit.id).primitives_config) == {"a", "b", "c", "d"}


def test_default_or_used_kit_stays() -> None:
    acme = factories.acme()
    with pytest.raises(Conflict) as caught:
        kits.delete(company_id=acme.company_id, kit_id=acme.kit.id)
    assert caught.value.details == {"users": 1, "keys": 0}
    used = make(acme)
    tenants.create(company_id=acme.company_id, account_kit_id=used.id, now=NOW)
    scoped_key(acme, used)
    with pytest.raises(Conflict) as caught:
        kits.delete(company_id=acme.company_id, kit_id=used.id)
    assert caught.value.details == {"users": 1, "keys": 1}


def test_kit_is_deleted_or_given_to_a_user_never_both() -> None:
    acme = factories.acme()
    for _ in range(3):
        kit = make(acme)
        both: list[Callable[[], object]] = [
            functools.partial(kits.delete, company_id=acme.company_id, kit_id=kit.id),
            functools.partial(tenants.assign_many, company_id=acme.company_id, account_kit_id=kit.id),
        ]
        deleted, assigned = races.at_once(*both)
        # Whoever came second was told.
        assert isinstance(deleted, Conflict) != isinstance(assigned, NotFound), (deleted, assigned)
        tenants.assign_many(company_id=acme.company_id, account_kit_id=acme.kit.id)
        AccountKit.objects.filter(id=kit.id).delete()


def test_kit_of_revoked_keys_only_can_go() -> None:
    acme = factories.acme()
    used = make(acme)
    key = scoped_key(acme, used)
    keys.revoke(company_id=acme.company_id, key_id=key.id, now=NOW)
    kits.delete(company_id=acme.company_id, kit_id=used.id)
    assert not AccountKit.objects.filter(id=used.id).exists()
    assert APIKey.objects.get(id=key.id).revoked_at is not None


def test_stranger_finds_no_kit() -> None:
    acme, globex = factories.acme(), factories.globex()
    for kit_id in (acme.kit.id, uuid4()):
        with pytest.raises(NotFound, match=str(kit_id)):
            kits.get(company_id=globex.company_id, kit_id=kit_id)
        with pytest.raises(NotFound, match=str(kit_id)):
            kits.update(company_id=globex.company_id, kit_id=kit_id, changes={"name": "Mine"})
        with pytest.raises(NotFound, match=str(kit_id)):
            kits.delete(company_id=globex.company_id, kit_id=kit_id)


@pytest.mark.parametrize("field", ["id", "company_id", "created_at", "primitive_config"])
def test_what_a_kit_does_not_have_cannot_be_set(field: str) -> None:
    acme = factories.acme()
    with pytest.raises(InvalidInput, match=rf"^account_kit\.{field}: "):
        kits.update(company_id=acme.company_id, kit_id=acme.kit.id, changes={field: "x"})


def test_company_that_is_not_there_has_no_kits() -> None:
    nobody = uuid4()
    with pytest.raises(NotFound, match=f"Company {nobody}"):
        kits.create(company_id=nobody, name="Theirs", now=NOW)


def test_change_writes_only_its_own_columns() -> None:
    acme = factories.acme()
    with CaptureQueriesContext(connection) as queries:
        kits.update(company_id=acme.company_id, kit_id=acme.kit.id, changes={"name": "Renamed"})
    [update] = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    assert '"name"' in update
    assert '"primitives_config"' not in update
