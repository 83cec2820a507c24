"""What every route of the management API stands on: keys, errors, roles, idempotency, pages."""

import functools
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.urls import path
from django.utils import timezone
from pytest_django import Settings
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import companies, idempotency, keys, tokens
from accounts.answer_models import IdempotentAnswer
from accounts.errors import Conflict
from accounts.models import Company, Role
from naive_platform.api import routes, wire
from naive_platform.api.permissions import Permission
from naive_platform.api.routes import Route
from naive_platform.urls import urlpatterns as site
from tests import factories
from tests.races import at_once

# What the routes below have done, and what they wait for.
done: list[Any] = []
gate = threading.Event()


class Open(Route):
    """A route whose row in the table is its own."""

    least: ClassVar[Role] = Role.MEMBER

    @classmethod
    def permission(cls, verb: str) -> Permission:
        return Permission(Role.VIEWER if verb == "get" else cls.least)


class Things(Open):
    """A route as a later one will be."""

    name = "things"

    def get(self, request: Request) -> Response:
        return routes.answer({"amount": wire.amount(525_000), "at": timezone.now()})

    def post(self, request: Request) -> Response:
        done.append(request.data)
        match request.data.get("do"):
            case "wait":
                gate.wait(5)
            case "conflict":
                raise Conflict("Not now.")
            case "break":
                raise RuntimeError("a secret that nobody may read")
            case "much":
                return routes.answer({"text": "x" * idempotency.ANSWER_BYTES_MAX})
            case "rename":
                Company.objects.filter(id=self.company_id).update(name="Renamed")
                raise Conflict("After a write.")
            case "slow down":
                raise Throttled(wait=7)
        return routes.answer({"number": len(done), "amount": wire.amount(1)}, status=201)


class Elsewhere(Open):
    """A route that asks somebody beyond the database."""

    name = "elsewhere"

    reaches_beyond = True

    def post(self, request: Request) -> Response:
        assert not connection.in_atomic_block
        done.append(request.data)
        match request.data.get("do"):
            case "wait":
                gate.wait(5)
            case "conflict":
                raise Conflict("Not now.")
        return routes.answer({"number": len(done)}, status=201)


class Owners(Open):
    """A route for owners alone."""

    name = "owners"
    least = Role.OWNER

    def delete(self, request: Request) -> Response:
        return routes.answer({})


urlpatterns = [
    *site,
    path("v1/things", Things.as_view()),
    path("v1/elsewhere", Elsewhere.as_view()),
    path("v1/owners", Owners.as_view()),
]
pytestmark = pytest.mark.urls("tests.platform.test_api_foundation")


@pytest.fixture(autouse=True)
def _begin() -> Iterator[None]:
    done.clear()
    gate.clear()
    yield
    gate.set()


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


def ask(member: factories.Cast, method: str = "get", url: str = "/v1/things", **more: Any) -> Any:
    headers = {"Authorization": member.authorization} | more.pop("headers", {})
    client = Client(raise_request_exception=False)
    return getattr(client, method)(url, headers=headers, content_type="application/json", **more)


def post(member: factories.Cast, body: Any = None, key: str | None = None, **more: Any) -> Any:
    headers = {"Idempotency-Key": key} if key is not None else {}
    return ask(member, "post", data={} if body is None else body, headers=headers, **more)


def with_key(member: factories.Cast, **given: Any) -> factories.Cast:
    """The member with another key."""
    return factories.with_key(member, **({"role": "owner", "created_by_id": None} | given))


def error(answer: Any) -> dict[str, Any]:
    """The error of an answer, which names the request as its header does."""
    found: dict[str, Any] = answer.json()["error"]
    assert found["request_id"] == answer.headers["X-Request-Id"]
    assert answer.headers["Content-Type"] == "application/json"
    return found


def test_answer_is_exact_json_of_its_own_request(acme: factories.Cast) -> None:
    answer = ask(acme)

    assert answer.status_code == 200
    assert b'"amount":0.000525' in answer.content
    assert answer.json()["at"].endswith("Z")
    assert answer.headers["X-Request-Id"].startswith("req_")
    assert answer.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "Bearer", "Bearer null", "bearer x", "Basic eDp5", "Bearer  x"),
        *(f"Bearer {tokens.generate(prefix)}" for prefix in (tokens.KEY_PREFIX, tokens.SESSION_PREFIX)),
    ],
    ids=lambda header: str(header)[:12],
)
def test_whoever_has_no_good_key_is_refused(header: str | None) -> None:
    answer = Client().get("/v1/things", headers={"Authorization": header} if header is not None else {})

    assert answer.status_code == 401
    assert error(answer)["code"] == "unauthorized"


@pytest.mark.parametrize("name", ["api_key", "key", "access_token"])
def test_key_in_the_address_is_refused_with_a_hint(acme: factories.Cast, name: str) -> None:
    answer = Client().get("/v1/things", {name: acme.secret})

    assert answer.status_code == 401
    assert "Revoke it" in error(answer)["hint"]
    assert acme.secret not in answer.content.decode()


def test_revoked_key_is_refused_at_once(acme: factories.Cast) -> None:
    assert ask(acme).status_code == 200

    keys.revoke(company_id=acme.company_id, key_id=acme.key.id, now=timezone.now())

    assert ask(acme).status_code == 401


def test_narrow_keys_do_not_open_it(acme: factories.Cast) -> None:
    sealed = with_key(acme, active_tenant_user_id=acme.tenant_user.id)
    of_kit = with_key(acme, account_kit_id=acme.kit.id)

    for member in (sealed, of_kit):
        for answer in (ask(member), post(member)):
            assert answer.status_code == 403
            assert error(answer)["details"] == {"reason": "key_scope"}
    assert done == []


def test_viewer_reads_and_changes_nothing(acme: factories.Cast) -> None:
    viewer = with_key(acme, role="viewer")

    assert ask(viewer).status_code == 200
    answer = post(viewer)
    assert (answer.status_code, error(answer)["details"]) == (
        403,
        {"reason": "role", "role": "viewer", "required": "member"},
    )
    assert done == []


@pytest.mark.parametrize(("role", "status"), [("owner", 200), ("admin", 403), ("member", 403)])
def test_route_says_which_role_it_takes(acme: factories.Cast, role: str, status: int) -> None:
    assert ask(with_key(acme, role=role), "delete", "/v1/owners").status_code == status


def test_suspended_company_reads_and_changes_nothing(acme: factories.Cast) -> None:
    companies.suspend(company_id=acme.company_id)

    assert ask(acme).status_code == 200
    assert error(post(acme))["details"] == {"reason": "company_suspended"}
    assert done == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"\xff{}", "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": 1%s}' % (b"0" * 5000), "not JSON"),
        (b"[]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"\\ud800": 1}', "not JSON"),
        (b'{"a": ["\\udfff\\ud800"]}', "not JSON"),
    ],
    ids=lambda value: str(value)[:14],
)
def test_body_that_is_no_object_is_refused(acme: factories.Cast, body: bytes, said: str) -> None:
    if body == b"":
        body = b" "
    answer = post(acme, body)

    assert answer.status_code == 400
    assert error(answer)["code"] == "invalid_input"
    assert said in error(answer)["message"]


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_body_of_another_kind_is_refused(acme: factories.Cast, media_type: str) -> None:
    answer = Client().post(
        "/v1/things", b"a=1", content_type=media_type, headers={"Authorization": acme.authorization}
    )

    assert answer.status_code == 415
    assert error(answer)["code"] == "unsupported_media_type"
    assert "application/json" in error(answer)["message"]


def test_body_that_is_too_long_is_refused(acme: factories.Cast, settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000

    answer = post(acme, {"a": "x" * 1000})

    assert (answer.status_code, error(answer)["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "trace"])
def test_method_a_route_does_not_have_is_refused_and_told(acme: factories.Cast, method: str) -> None:
    answer = ask(acme, method)

    assert (answer.status_code, error(answer)["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, POST, HEAD"


def test_address_nobody_has_is_not_found(acme: factories.Cast) -> None:
    answer = ask(acme, url="/v1/nothing")

    assert (answer.status_code, error(answer)["code"]) == (404, "not_found")


def test_too_many_requests_say_when_to_come_back(acme: factories.Cast) -> None:
    answer = post(acme, {"do": "slow down"})

    assert (answer.status_code, error(answer)["code"]) == (429, "rate_limited")
    assert answer.headers["Retry-After"] == "7"


def test_bug_is_told_without_its_words(acme: factories.Cast) -> None:
    answer = post(acme, {"do": "break"})

    assert (answer.status_code, error(answer)["code"]) == (500, "internal_error")
    assert "secret" not in answer.content.decode()


def test_same_key_and_body_is_done_once_and_answered_alike(acme: factories.Cast) -> None:
    first, again = (post(acme, {"a": 1}, key="k1") for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
    assert len(done) == 1


def test_without_a_key_each_request_is_done(acme: factories.Cast) -> None:
    assert [post(acme).json()["number"] for _ in range(2)] == [1, 2]


def test_same_key_with_another_body_is_refused(acme: factories.Cast) -> None:
    post(acme, {"a": 1}, key="k1")

    for answer in (post(acme, {"a": 2}, key="k1"), post(acme, {"a": 1}, key="k1", url="/v1/things?b=1")):
        assert (answer.status_code, error(answer)["code"]) == (422, "idempotency_mismatch")
    assert len(done) == 1


def test_key_of_globex_is_another_key(acme: factories.Cast) -> None:
    globex = factories.globex()
    post(acme, {"a": 1}, key="k1")

    answer = post(globex, {"a": 1}, key="k1")

    assert "Idempotency-Replayed" not in answer.headers
    assert len(done) == 2


def test_stored_answer_is_given_to_its_own_key_alone(acme: factories.Cast) -> None:
    """It may hold what a lesser key of the same company is not to see, such as a new key's secret."""
    post(acme, {"a": 1}, key="k1")

    answer = post(with_key(acme, role="member"), {"a": 1}, key="k1")

    assert (answer.status_code, error(answer)["code"]) == (422, "idempotency_mismatch")
    assert len(done) == 1


def test_running_request_is_not_begun_again(acme: factories.Cast) -> None:
    def later() -> Any:
        while not done:
            time.sleep(0.01)
        try:
            return post(acme, {"do": "wait"}, key="k1")
        finally:
            gate.set()

    first, second = at_once(functools.partial(post, acme, {"do": "wait"}, key="k1"), later)

    assert not isinstance(first, Exception)
    assert not isinstance(second, Exception)
    assert (first.status_code, second.status_code) == (201, 409)
    assert error(second)["code"] == "idempotency_in_progress"
    assert post(acme, {"do": "wait"}, key="k1").content == first.content


def test_twenty_at_once_are_done_once(acme: factories.Cast) -> None:
    answers = at_once(*[functools.partial(post, acme, {"a": 1}, key="k1")] * 20)

    statuses = {answer.status_code for answer in answers if not isinstance(answer, Exception)}
    assert statuses <= {201, 409}
    assert len(done) == 1


def test_work_elsewhere_is_done_once_outside_any_transaction(acme: factories.Cast) -> None:
    first, again = (post(acme, {"a": 1}, key="k1", url="/v1/elsewhere") for _ in range(2))

    assert (first.status_code, again.status_code, first.content) == (201, 201, again.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert post(acme, {"a": 2}, key="k1", url="/v1/elsewhere").status_code == 422
    assert len(done) == 1


def test_work_elsewhere_of_twenty_at_once_is_done_once(acme: factories.Cast) -> None:
    ask_once = functools.partial(post, acme, {"a": 1}, key="k1", url="/v1/elsewhere")

    answers = at_once(*[ask_once] * 20)

    assert {answer.status_code for answer in answers if not isinstance(answer, Exception)} <= {201, 409}
    assert len(done) == 1
    assert ask_once().headers["Idempotency-Replayed"] == "true"


def test_work_elsewhere_that_failed_leaves_its_key_free(acme: factories.Cast) -> None:
    answers = [post(acme, {"do": "conflict"}, key="k1", url="/v1/elsewhere") for _ in range(2)]

    assert [error(answer)["code"] for answer in answers] == ["conflict"] * 2
    assert len(done) == 2


@pytest.mark.parametrize(("age_s", "status"), [(119, 409), (121, 201)])
def test_claim_that_a_crash_left_behind_is_free_after_a_while(
    acme: factories.Cast, age_s: int, status: int
) -> None:
    post(acme, {"a": 1}, key="k1", url="/v1/elsewhere")
    left = IdempotentAnswer.objects.filter(company_id=acme.company_id)
    left.update(status=idempotency.RUNNING, answer=None, created_at=timezone.now() - timedelta(seconds=age_s))

    answer = post(acme, {"a": 1}, key="k1", url="/v1/elsewhere")

    assert (answer.status_code, len(done)) == (status, 2 if status == 201 else 1)


def test_claim_that_was_taken_over_is_not_finished_by_the_first(acme: factories.Cast) -> None:
    def taken_over() -> idempotency.Answer:
        later = timezone.now()
        IdempotentAnswer.objects.filter(company_id=acme.company_id).update(created_at=later)
        return idempotency.Answer(status=201, body=b"first")

    idempotency.once_beyond(
        company_id=acme.company_id, key="k1", fingerprint=b"x" * 32, now=timezone.now(), work=taken_over
    )

    assert IdempotentAnswer.objects.get(company_id=acme.company_id).status == idempotency.RUNNING


@pytest.mark.parametrize("do", ["conflict", "break", "rename"])
def test_what_failed_left_nothing_and_may_be_tried_again(acme: factories.Cast, do: str) -> None:
    answers = [post(acme, {"do": do}, key="k1") for _ in range(2)]

    assert all("Idempotency-Replayed" not in answer.headers for answer in answers)
    assert len(done) == 2
    assert Company.objects.get(id=acme.company_id).name == acme.company.name
    assert not IdempotentAnswer.objects.filter(company_id=acme.company_id).exists()


def test_key_is_free_again_after_a_day(acme: factories.Cast) -> None:
    post(acme, {"a": 1}, key="k1")
    kept = IdempotentAnswer.objects.filter(company_id=acme.company_id)
    kept.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))

    answer = post(acme, {"a": 2}, key="k1")

    assert (answer.status_code, answer.json()["number"]) == (201, 2)
    kept.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    assert post(acme, {"a": 2}, key="k1").headers["Idempotency-Replayed"] == "true"


def test_answers_past_their_day_are_deleted(acme: factories.Cast) -> None:
    post(acme, {"a": 1}, key="old")
    kept = IdempotentAnswer.objects.filter(company_id=acme.company_id)
    kept.update(created_at=timezone.now() - timedelta(hours=25))
    post(acme, {"a": 1}, key="new")

    assert idempotency.forget(now=timezone.now()) >= 1
    assert kept.count() == 1


def test_answer_is_kept_encrypted_for_its_company_alone(acme: factories.Cast) -> None:
    post(acme, {"a": 1}, key="k1")

    kept = IdempotentAnswer.objects.get(company_id=acme.company_id)
    assert b"number" not in bytes(kept.answer or b"")
    # Moved to Globex by hand, it does not open there.
    globex = factories.globex()
    post(globex, {"a": 1}, key="k1")
    IdempotentAnswer.objects.filter(company_id=globex.company_id).update(answer=kept.answer)
    assert error(post(globex, {"a": 1}, key="k1"))["code"] == "already_completed"


def test_answer_that_is_too_long_to_keep_is_not_done_again(acme: factories.Cast) -> None:
    assert post(acme, {"do": "much"}, key="k1").status_code == 200

    answer = post(acme, {"do": "much"}, key="k1")

    assert (answer.status_code, error(answer)["code"]) == (409, "already_completed")
    assert len(done) == 1


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "ümlaut", "tab\there", " lead"], ids=repr)
def test_key_that_cannot_be_kept_is_refused(acme: factories.Cast, key: str) -> None:
    answer = post(acme, key=key)

    assert (answer.status_code, error(answer)["details"]) == (400, {"field": "Idempotency-Key"})
    assert done == []


def test_refused_request_claims_no_key(acme: factories.Cast) -> None:
    viewer = with_key(acme, role="viewer")

    assert post(viewer, {"a": 1}, key="k1").status_code == 403
    assert post(acme, {"a": 1}, key="k1").status_code == 201


def test_stored_answer_is_not_given_to_a_viewer(acme: factories.Cast) -> None:
    post(acme, {"a": 1}, key="k1")

    assert post(with_key(acme, role="viewer"), {"a": 1}, key="k1").status_code == 403


def test_unknown_company_has_no_answer() -> None:
    with pytest.raises(Conflict):
        idempotency.once(
            company_id=uuid4(),
            key="k",
            fingerprint=b"x" * 32,
            now=timezone.now(),
            work=functools.partial(_fail),
        )


def _fail() -> idempotency.Answer:
    raise Conflict("No.")
