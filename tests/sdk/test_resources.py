"""Every noun of the SDK against a whole platform, sync and async."""

import asyncio
import datetime
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from naive import (
    AsyncNaive,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    Naive,
    NotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    UnprocessableEntityError,
    types,
    webhooks,
)
from tests import factories
from tests import webhooks as hooks
from tests.e2e.conftest import Platform, eventually

HELLO: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
PASSWORD = "correct horse battery staple"


@pytest.fixture
def naive(clean: Platform, acme: factories.Cast) -> Iterator[Naive]:
    with Naive(api_key=acme.secret, base_url=clean.url) as client:
        yield client


def test_chat_is_charged_exactly(naive: Naive, acme: factories.Cast) -> None:
    answer = naive.llm.chat(**HELLO, max_tokens=20)
    assert answer.text
    assert answer.usage is not None
    assert answer.usage.cost is not None
    assert answer.credits_used == Decimal(20) - factories.balance(acme)
    assert answer.credits_used == (answer.usage.cost * Decimal("2.5")).quantize(
        Decimal("1E-9"), "ROUND_CEILING"
    )
    assert answer.request_id
    found = naive.llm.generation(str(answer.generation_id))
    assert found.credits_used == answer.credits_used
    assert found.id == answer.id


def test_conversation_goes_on_with_what_was_answered(naive: Naive, clean: Platform) -> None:
    first = naive.llm.chat(**HELLO, max_tokens=5)
    naive.llm.chat(
        model="openai/gpt-4o-mini",
        messages=[*HELLO["messages"], first.message, {"role": "user", "content": "On."}],
    )
    said = json.loads(clean.upstream.last_request()["body"])["messages"][1]
    assert (said["role"], said["content"]) == ("assistant", first.text)


def test_fields_that_the_sdk_does_not_know_go_through_both_ways(naive: Naive, clean: Platform) -> None:
    unknown: dict[str, Any] = {"hologram": True}
    answer = naive.llm.chat(**HELLO, **unknown, extra_body={"aroma": {"rose": 0.5}})
    body = json.loads(clean.upstream.last_request()["body"])
    assert (body["hologram"], body["aroma"]) == (True, {"rose": 0.5})
    assert answer.to_dict()["choices"][0]["native_finish_reason"]


def test_estimate_is_what_the_call_holds(naive: Naive) -> None:
    estimate = naive.llm.estimate(**HELLO, max_tokens=50)
    assert estimate.allowed
    held = naive.llm.with_raw_response.chat(**HELLO, max_tokens=50)
    assert Decimal(held.headers["x-naive-credits-held"]) == estimate.hold_credits
    assert held.parse().text


def test_models_are_searched(naive: Naive) -> None:
    found = naive.llm.models("claude", modality="image", supported_parameters=["tools"])
    assert found.count == len(found.models) > 0
    assert all("claude" in model.id for model in found.models)
    assert found.models[0].pricing is not None


def test_users_from_first_to_last(naive: Naive) -> None:
    alice = naive.users.create(external_id="alice", email="alice@example.com", metadata={"plan": "pro"})
    assert naive.users.get("ext:alice") == alice
    assert naive.users.update(alice.id, label="Alice", metadata={"plan": None, "seats": 2}).metadata == {
        "seats": 2
    }
    assert naive.users.update(alice.id, external_id=None).external_id is None
    assert naive.users.delete(alice.id).status == "suspended"
    assert [user.id for user in naive.users.list(status="suspended")] == [alice.id]


def test_taken_and_unknown_users_are_told(naive: Naive) -> None:
    naive.users.create(external_id="alice")
    with pytest.raises(ConflictError) as taken:
        naive.users.create(external_id="alice")
    assert taken.value.code == "duplicate_record"
    with pytest.raises(NotFoundError):
        naive.users.get("ext:nobody?y#z")
    with pytest.raises(BadRequestError) as wrong:
        naive.users.create(email="no address")
    assert wrong.value.details["field"] == "email"


def test_lists_go_on_over_all_pages(naive: Naive) -> None:
    made = {naive.users.create(external_id=f"user-{at}").id for at in range(5)}
    page = naive.users.list(limit=2)
    assert len(page.items) == 2
    assert page.has_next_page
    assert page.request_id
    assert made < {user.id for user in page}
    assert [len(each.items) for each in page.pages()] == [2, 2, 2]
    with pytest.raises(LookupError):
        list(page.pages())[-1].next_page()


def test_calls_for_a_user_are_theirs(naive: Naive) -> None:
    alice = naive.users.create(external_id="alice")
    scoped = naive.for_user(alice.id)
    answer = scoped.llm.chat(**HELLO)
    streamed = naive.for_user("ext:alice").llm.stream(**HELLO).final_completion()
    assert scoped.llm.generation(str(streamed.generation_id)).user_id == alice.id
    assert answer.credits_used is not None
    assert streamed.credits_used is not None
    spent = answer.credits_used + streamed.credits_used
    assert scoped.usage().summary.credits_used == spent
    assert naive.users.usage(alice.id, group_by="model").summary.credits_used == spent
    assert scoped.user_id == alice.id


def test_session_token_opens_its_users_calls_alone(naive: Naive, clean: Platform) -> None:
    alice = naive.users.create(external_id="alice")
    issued = naive.users.sessions.create(alice.id, ttl_seconds=60)
    with Naive(api_key=issued.token, base_url=clean.url) as device:
        assert device.for_user("me").llm.chat(**HELLO).text
        with pytest.raises(PermissionDeniedError) as refused:
            device.users.list()
        assert refused.value.reason == "key_scope"
    other = naive.users.sessions.create(alice.id)
    assert {session.id for session in naive.users.sessions.list(alice.id)} == {issued.id, other.id}
    assert naive.users.sessions.revoke(alice.id, issued.id).revoked_at is not None


def test_kits_with_etags(naive: Naive) -> None:
    kit = naive.account_kits.create(
        name="Free", primitives_config={"llm": {"defaults": {"max_cost_usd_per_call": Decimal("0.05")}}}
    )
    changes: Any = {"llm": {"defaults": {"allowed_models": ["openai/*"]}}}
    preview = naive.account_kits.preview(kit.id, primitives_config=changes)
    assert preview.models.allowed_after < preview.models.allowed_before
    changed = naive.account_kits.update(kit.id, primitives_config=changes, if_match=kit.etag)
    with pytest.raises(PreconditionFailedError) as stale:
        naive.account_kits.update(kit.id, description="Stale.", if_match=kit.etag)
    assert stale.value.details["etag"] == changed.etag
    effective = naive.account_kits.effective(kit.id)
    assert effective.llm.allowed_models == ["openai/*"]
    [limit] = [limit for limit in effective.limits if limit.name == "max_cost_usd_per_call"]
    assert limit.value == Decimal("0.05")


def test_kits_are_assigned_and_deleted(naive: Naive) -> None:
    kit, other = (naive.account_kits.create(name=name) for name in ("One", "Two"))
    alice = naive.users.create(external_id="alice")
    assert naive.account_kits.assign_user(kit.id, alice.id).account_kit_id == kit.id
    with pytest.raises(ConflictError) as used:
        naive.account_kits.delete(kit.id)
    assert used.value.details["users"] == 1
    assert naive.account_kits.assign(other.id, from_kit_id=kit.id).assigned == 1
    assert naive.account_kits.delete(kit.id, if_match=kit.etag).deleted
    assert {listed.name: listed.users for listed in naive.account_kits.list()}["Two"] == 1


def test_kit_closes_a_primitive_and_opens_it(naive: Naive, acme: factories.Cast) -> None:
    kit_id = str(acme.kit.id)
    naive.account_kits.update(kit_id, primitives_config={"llm": {"enabled": False}})
    eventually(lambda: not naive.llm.estimate(**HELLO).allowed, timeout_s=2, what="the kit acts")
    assert naive.account_kits.update(kit_id, primitives_config={"llm": None}).primitives_config == {}


def test_keys_from_first_to_last(naive: Naive, clean: Platform) -> None:
    ends_at = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)
    key = naive.keys.create(name="CI", cap_credits=Decimal("2.5"), cap_period="day", expires_at=ends_at)
    assert (key.cap_credits, key.expires_at) == (Decimal("2.5"), ends_at)
    with Naive(api_key=key.api_key, base_url=clean.url) as owner:
        assert owner.auth.me().key is not None
    assert naive.keys.update(key.id, name="Builds").name == "Builds"
    successor = naive.keys.rotate(key.id, overlap_hours=0)
    assert successor.rotated_from == key.id
    assert successor.api_key not in repr(successor)
    ended_at = naive.keys.get(key.id).expires_at
    assert ended_at is not None
    assert ended_at < ends_at
    assert naive.keys.revoke(successor.id).revoked_at is not None
    assert successor.id in {listed.id for listed in naive.keys.list(revoked=True)}
    with Naive(api_key=successor.api_key, base_url=clean.url, max_retries=0) as nobody:
        eventually(lambda: _is_refused(nobody), timeout_s=2, what="a revoked key opens nothing")


def _is_refused(naive: Naive) -> bool:
    try:
        naive.status()
    except AuthenticationError:
        return True
    return False


def test_books(naive: Naive, acme: factories.Cast) -> None:
    answer = naive.llm.chat(**HELLO)
    status = naive.status()
    assert status.credits.balance == factories.balance(acme) == answer.credits_remaining
    assert [pack.price_usd for pack in naive.billing.packs().packs] == [10, 23, 44, 100]
    entries = list(naive.billing.ledger(limit=1))
    assert sum(entry.amount for entry in entries) == status.credits.balance
    assert answer.credits_used is not None
    assert entries[0].amount == -answer.credits_used
    usage = naive.usage(days=1, group_by="model")
    assert usage.summary.groups is not None
    assert usage.summary.groups[0].credits_used == answer.credits_used
    assert usage.transactions[0].action == "llm_call"
    statement = naive.billing.statement()
    assert statement.closing_balance == statement.opening_balance + sum(
        line.amount for line in statement.lines
    )
    assert naive.billing.topup("small").pack.credits == 20


def test_sign_up_sign_in_and_ask_who(clean: Platform) -> None:
    with Naive(base_url=clean.url) as nobody:
        made = nobody.auth.register(
            name="Ada", email="ada@example.com", password=PASSWORD, company_name="Engines"
        )
        signed_in = nobody.auth.login(email="ada@example.com", password=PASSWORD)
        with pytest.raises(AuthenticationError):
            nobody.auth.login(email="ada@example.com", password="wrong horse")
        with pytest.raises(AuthenticationError, match="key"):
            nobody.status()
    assert signed_in.company_id == made.company_id
    with Naive(api_key=signed_in.api_key, base_url=clean.url) as ada:
        me = ada.auth.me()
        assert me.person is not None
        assert (me.company.name, me.role, me.person.name) == ("Engines", "owner", "Ada")
        assert ada.auth.select_company(me.company.id).company_name == "Engines"


def test_audit_log(naive: Naive, clean: Platform, acme: factories.Cast) -> None:
    alice = naive.users.create(external_id="alice")
    naive.users.update(alice.id, label="Alice")
    page = naive.audit.list(target_id=alice.id, limit=1)
    [latest] = page.items
    assert (latest.action, latest.actor.kind, latest.target.id) == ("tenant_user.updated", "key", alice.id)
    assert latest.before is not None
    assert latest.after is not None
    assert latest.after["label"] == "Alice"
    assert [entry.action for entry in page] == ["tenant_user.updated", "tenant_user.created"]
    assert [entry.id for entry in naive.audit.list(request_id=str(latest.request_id))] == [latest.id]
    assert len(naive.audit.export(target_id=alice.id).splitlines()) == 3
    raw = naive.audit.with_raw_response.export(target_id=alice.id, format="jsonl")
    assert json.loads(raw.parse().splitlines()[0])["id"] == latest.id

    async def main() -> list[str]:
        async with AsyncNaive(api_key=acme.secret, base_url=clean.url) as awaited:
            return [entry.id async for entry in awaited.audit.list(target_id=alice.id, limit=1)]

    assert asyncio.run(main()) == [entry.id for entry in page]


def test_request_asks_what_no_method_is_for(naive: Naive) -> None:
    found = naive.request("GET", "/v1/users", query={"limit": 1})
    assert len(found["users"]) == 1
    made = naive.request("post", "/v1/users", body={"external_id": "alice"}, idempotency_key="signup-1")
    assert naive.users.create(external_id="alice", idempotency_key="signup-1").id == made["id"]
    with pytest.raises(ValueError, match="is no path"):
        naive.request("GET", "v1/users")


def test_webhooks_deliver_what_verifies(naive: Naive) -> None:
    with hooks.receiving() as receiver:
        endpoint = naive.webhooks.create(url=receiver.url, events=["key.created"])
        naive.webhooks.test(endpoint.id)
        eventually(lambda: len(receiver.requests) == 1, what="the test event")
        got = receiver.requests[0]
        event = webhooks.verify(got.body, got.headers, secret=endpoint.secret)
        assert event.type == "webhook.test"
        [delivery] = naive.webhooks.deliveries(endpoint.id)
        assert naive.webhooks.replay(endpoint.id, delivery.id).replay_of == delivery.id
        rotated = naive.webhooks.rotate_secret(endpoint.id)
        assert rotated.secret != endpoint.secret
        assert not naive.webhooks.update(endpoint.id, enabled=False).enabled
        assert [listed.id for listed in naive.webhooks.list()] == [naive.webhooks.get(endpoint.id).id]
        assert naive.webhooks.delete(endpoint.id).deleted


def test_idempotency_key_of_another_request_is_refused(naive: Naive) -> None:
    first = naive.users.create(external_id="alice", idempotency_key="signup-1")
    assert naive.users.create(external_id="alice", idempotency_key="signup-1") == first
    with pytest.raises(UnprocessableEntityError) as other:
        naive.users.create(external_id="bob", idempotency_key="signup-1")
    assert other.value.code == "idempotency_mismatch"


def test_async_client_is_the_same(clean: Platform, acme: factories.Cast) -> None:
    async def main() -> None:
        async with AsyncNaive(api_key=acme.secret, base_url=clean.url) as naive:
            alice = await naive.users.create(external_id="alice")
            answers = await asyncio.gather(*(naive.for_user(alice.id).llm.chat(**HELLO) for _ in range(3)))
            assert all(answer.text for answer in answers)
            async with naive.llm.stream(**HELLO) as stream:
                assert "".join([text async for text in stream.text])
            assert stream.credits_remaining == (await naive.status()).credits.balance
            assert alice.id in {user.id async for user in naive.users.list(limit=1)}
            first = await naive.billing.ledger(limit=2)
            assert [len(page.items) async for page in first.pages()] == [2, 2, 1]
            raw = await naive.users.with_raw_response.get(alice.id)
            assert raw.status_code == 200
            assert isinstance(raw.parse(), types.User)
            with pytest.raises(NotFoundError):
                await naive.users.get("ext:nobody")

    asyncio.run(main())
