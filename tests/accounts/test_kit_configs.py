"""The configuration of a kit: what is stored, how a PATCH merges, and what a mistake is told."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import kit_configs
from accounts.errors import InvalidInput
from accounts.kit_configs import LLMRules

FULL: dict[str, Any] = {
    "enabled": True,
    "requiresApproval": False,
    "defaults": {
        "allowed_models": ["anthropic/*", "*:free"],
        "denied_models": ["openai/o1-pro"],
        "max_tokens": 4096,
        "provider": {"sort": "price", "order": None},
        "provider_required": {"data_collection": "deny"},
        "max_cost_usd_per_call": 0.05,
        "monthly_credits_per_user": "12.5",
        "requests_per_minute": 60,
    },
}


def with_defaults(**given: Any) -> dict[str, Any]:
    return {"llm": {"enabled": True, "defaults": given}}


def test_difference_names_each_value_by_its_path() -> None:
    before = {"llm": {"enabled": True, "defaults": {"max_tokens": 1, "allowed_models": ["a"]}}, "x": {"n": 1}}
    after = {"llm": {"enabled": True, "defaults": {"allowed_models": ["b"]}}, "x": {"n": True}, "y": {}}
    found = kit_configs.difference("p", before, after)
    assert [(change.path, change.before, change.after) for change in found] == [
        ("p.llm.defaults.allowed_models", ["a"], ["b"]),
        ("p.llm.defaults.max_tokens", 1, None),
        ("p.x.n", 1, True),
        ("p.y", None, {}),
    ]
    assert kit_configs.difference("p", before, dict(before)) == []
    whole = kit_configs.difference("p", {}, {"llm": {"enabled": False}})
    assert whole == [kit_configs.Change("p.llm.enabled", None, False)]
    assert kit_configs.difference("p", {"llm": {"enabled": False}}, {}) == [
        kit_configs.Change("p.llm.enabled", False, None)
    ]


def test_full_configuration_is_kept_as_given() -> None:
    assert kit_configs.validate_primitives_config({"llm": FULL}) == {"llm": FULL}


def test_rules_are_read_with_exact_numbers() -> None:
    rules = kit_configs.parse({"llm": FULL})
    assert rules == LLMRules(
        enabled=True,
        allowed_models=("anthropic/*", "*:free"),
        denied_models=("openai/o1-pro",),
        max_tokens=4096,
        provider={"sort": "price", "order": None},
        provider_required={"data_collection": "deny"},
        max_cost_usd_per_call=Decimal("0.05"),
        monthly_credits_per_user=Decimal("12.5"),
        requests_per_minute=60,
    )


def test_nothing_said_means_everything_open() -> None:
    assert kit_configs.parse({}) == kit_configs.parse({"llm": {}}) == LLMRules(enabled=True)


def test_unknown_primitives_are_kept_as_given() -> None:
    config = {"browser": {"enabled": False, "colour": "green", "defaults": {"x": [1, {"y": None}]}}}
    assert kit_configs.validate_primitives_config(config) == config


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ([], "primitives_config"),
        (with_defaults(allowed_models=["a/?"]), "primitives_config.llm.defaults.allowed_models[0]"),
        (with_defaults(denied_models=["a/*", "b/[cd]"]), "primitives_config.llm.defaults.denied_models[1]"),
        ("{}", "primitives_config"),
        ({"": {}}, "primitives_config."),
        ({"llm": True}, "primitives_config.llm"),
        ({"llm": None}, "primitives_config.llm"),
        ({"mail": []}, "primitives_config.mail"),
        ({"llm": {"enabled": "yes"}}, "primitives_config.llm.enabled"),
        ({"llm": {"enabled": 1}}, "primitives_config.llm.enabled"),
        ({"mail": {"requiresApproval": 0}}, "primitives_config.mail.requiresApproval"),
        ({"llm": {"enable": False}}, "primitives_config.llm.enable"),
        ({"llm": {"defaults": []}}, "primitives_config.llm.defaults"),
        (with_defaults(allowed_model=["a/*"]), "primitives_config.llm.defaults.allowed_model"),
        (with_defaults(allowed_models="a/*"), "primitives_config.llm.defaults.allowed_models"),
        (with_defaults(allowed_models=["a/*", "b/*", 3]), "primitives_config.llm.defaults.allowed_models[2]"),
        (with_defaults(denied_models=[""]), "primitives_config.llm.defaults.denied_models[0]"),
        (with_defaults(denied_models=[" a/*"]), "primitives_config.llm.defaults.denied_models[0]"),
        (with_defaults(max_tokens=0), "primitives_config.llm.defaults.max_tokens"),
        (with_defaults(max_tokens=1.5), "primitives_config.llm.defaults.max_tokens"),
        (with_defaults(max_tokens=True), "primitives_config.llm.defaults.max_tokens"),
        (with_defaults(provider=["x"]), "primitives_config.llm.defaults.provider"),
        (with_defaults(provider_required=None), "primitives_config.llm.defaults.provider_required"),
        (with_defaults(max_cost_usd_per_call=-1), "primitives_config.llm.defaults.max_cost_usd_per_call"),
        (with_defaults(max_cost_usd_per_call=1001), "primitives_config.llm.defaults.max_cost_usd_per_call"),
        (
            with_defaults(monthly_credits_per_user="lots"),
            "primitives_config.llm.defaults.monthly_credits_per_user",
        ),
        (with_defaults(requests_per_minute="60"), "primitives_config.llm.defaults.requests_per_minute"),
    ],
)
def test_mistake_is_named_by_its_path(config: object, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        kit_configs.validate_primitives_config(config)
    assert caught.value.message.startswith(f"{path}: ")
    assert caught.value.details == {"field": path}


def test_unknown_field_is_told_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="known: enabled, defaults, requiresApproval"):
        kit_configs.validate_primitives_config({"llm": {"enable": False}})


def test_configuration_and_lists_have_a_size() -> None:
    with pytest.raises(InvalidInput, match="at most 65536 bytes"):
        kit_configs.validate_primitives_config({"notes": {"text": "x" * 70_000}})
    with pytest.raises(InvalidInput, match="at most 500 entries, not 501"):
        kit_configs.validate_primitives_config(with_defaults(allowed_models=["a/b"] * 501))


def test_patch_leaves_other_primitives_alone() -> None:
    merged = kit_configs.merge({"llm": FULL, "mail": {"enabled": True}}, {"mail": {"enabled": False}})
    assert merged == {"llm": FULL, "mail": {"enabled": False}}


def test_patch_that_toggles_keeps_the_limits() -> None:
    merged = kit_configs.merge({"llm": FULL}, {"llm": {"enabled": False}})
    assert merged == {"llm": {**FULL, "enabled": False}}


def test_patch_of_one_default_keeps_the_others_and_replaces_lists_whole() -> None:
    merged = kit_configs.merge({"llm": FULL}, {"llm": {"defaults": {"allowed_models": ["openai/*"]}}})
    assert merged["llm"]["defaults"] == {**FULL["defaults"], "allowed_models": ["openai/*"]}
    assert merged["llm"]["enabled"] is True


def test_null_removes_a_primitive_a_field_or_a_default() -> None:
    before = {"llm": FULL, "mail": {"enabled": False}}
    assert kit_configs.merge(before, {"mail": None}) == {"llm": FULL}
    assert "enabled" not in kit_configs.merge(before, {"llm": {"enabled": None}})["llm"]
    assert "defaults" not in kit_configs.merge(before, {"llm": {"defaults": None}})["llm"]
    limited = kit_configs.merge(before, {"llm": {"defaults": {"max_tokens": None}}})["llm"]["defaults"]
    assert limited == {key: value for key, value in FULL["defaults"].items() if key != "max_tokens"}


def test_null_of_something_absent_changes_nothing() -> None:
    assert kit_configs.merge({"llm": FULL}, {"mail": None}) == {"llm": FULL}
    assert kit_configs.merge({}, {"llm": {"defaults": {"max_tokens": None}}}) == {"llm": {"defaults": {}}}


def test_merging_changes_neither_of_its_inputs() -> None:
    before = {"llm": {"enabled": True, "defaults": {"max_tokens": 5}}}
    patch = {"llm": {"defaults": {"max_tokens": 6}}}
    kit_configs.merge(before, patch)
    assert before == {"llm": {"enabled": True, "defaults": {"max_tokens": 5}}}
    assert patch == {"llm": {"defaults": {"max_tokens": 6}}}


@pytest.mark.parametrize("patch", [[], "x", {"llm": 5}, {"llm": {"defaults": {"max_tokens": -1}}}])
def test_patch_whose_result_could_not_be_stored_is_refused(patch: object) -> None:
    with pytest.raises(InvalidInput, match="primitives_config"):
        kit_configs.merge({"llm": FULL}, patch)


def test_connections_are_open_unless_said_otherwise() -> None:
    assert kit_configs.validate_connections_config({}) == {"mode": "open"}
    listed = {"mode": "allowlist", "allowed": ["gmail"]}
    assert kit_configs.validate_connections_config(listed) == listed


@pytest.mark.parametrize("config", [None, [], {"mode": "closed"}, {"mode": None}, {"mode": ["open"]}])
def test_connections_have_a_known_mode(config: object) -> None:
    with pytest.raises(InvalidInput, match=r"^connections_config"):
        kit_configs.validate_connections_config(config)


@pytest.mark.parametrize("stored", [[], None, "x", 7, {"llm": []}, {"llm": {"defaults": None}}])
def test_stored_configuration_of_another_shape_is_invalid_and_can_be_mended(stored: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^primitives_config"):
        kit_configs.parse(stored)
    assert kit_configs.merge(stored, {"llm": {"enabled": False, "defaults": {}}}) == {
        "llm": {"enabled": False, "defaults": {}}
    }


def test_numbers_for_upstream_stay_numbers() -> None:
    provider = {"max_price": {"prompt": Decimal("0.5"), "image": 3}, "order": ["a"]}
    stored = kit_configs.validate_primitives_config(with_defaults(provider=provider))
    assert '"prompt": 0.5' in json.dumps(stored)
    assert kit_configs.parse(with_defaults(provider_required=provider)).provider_required == provider


# What a change comes to

_ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "requiresApproval": st.booleans(),
        "defaults": st.dictionaries(st.sampled_from("abc"), st.integers(0, 2) | st.lists(st.booleans())),
    },
)
_CONFIGS = st.dictionaries(st.sampled_from(["sms", "mail", "search"]), _ENTRIES)


@given(before=_CONFIGS, after=_CONFIGS)
def test_patch_makes_one_configuration_of_another(before: dict[str, Any], after: dict[str, Any]) -> None:
    patch = kit_configs.patch(before, after)

    assert kit_configs.merge(before, patch) == after
    assert (patch == {}) == kit_configs.is_same(before, after)


_DEFAULTS = "primitives_config.llm.defaults"


@pytest.mark.parametrize(
    ("path", "before", "after", "closes"),
    [
        ("primitives_config.llm.enabled", None, False, True),
        ("primitives_config.llm.enabled", False, True, False),
        ("primitives_config.llm.enabled", False, None, False),
        ("primitives_config.llm.requiresApproval", None, True, True),
        ("primitives_config.llm.requiresApproval", True, False, False),
        (f"{_DEFAULTS}.allowed_models", None, [], True),
        (f"{_DEFAULTS}.allowed_models", None, ["*"], True),
        (f"{_DEFAULTS}.allowed_models", ["a"], ["b", "a"], False),
        (f"{_DEFAULTS}.allowed_models", ["a", "b"], ["a"], True),
        (f"{_DEFAULTS}.allowed_models", [], None, False),
        (f"{_DEFAULTS}.denied_models", None, ["a"], True),
        (f"{_DEFAULTS}.denied_models", ["a", "b"], ["b"], False),
        (f"{_DEFAULTS}.denied_models", ["a"], None, False),
        (f"{_DEFAULTS}.max_tokens", None, 5, True),
        (f"{_DEFAULTS}.max_tokens", 5, 6, False),
        (f"{_DEFAULTS}.max_tokens", 6, 5, True),
        (f"{_DEFAULTS}.max_cost_usd_per_call", "0.5", 0.25, True),
        (f"{_DEFAULTS}.max_cost_usd_per_call", "unreadable", 0.25, False),
        (f"{_DEFAULTS}.monthly_credits_per_user", 1, None, False),
        (f"{_DEFAULTS}.provider", None, {"sort": "price"}, True),
        ("connections_config.mode", "blocklist", "open", False),
        ("connections_config.mode", "open", "allowlist", True),
        ("connections_config.names", None, ["x"], True),
        ("primitives_config.sms", {}, None, False),
    ],
)
def test_change_that_may_refuse_something_closes(
    path: str, before: object, after: object, closes: bool
) -> None:
    assert kit_configs.closes(kit_configs.Change(path, before, after)) is closes
