"""Refusals that no view makes: JSON for programs under /v1/, a page for people elsewhere."""

from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client
from django.urls import path
from django.views.decorators.http import require_POST

from naive_platform.urls import urlpatterns as site


def break_down(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a secret that nobody may read")


@require_POST
def take_post(request: HttpRequest) -> HttpResponse:
    return HttpResponse("taken")


def answer_in_json(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"error": {"code": "its_own"}}, status=404)


urlpatterns = [
    *site,
    path("v1/broken", break_down),
    path("v1/post-only", take_post),
    path("v1/own-words", answer_in_json),
    path("broken/", break_down),
    path("post-only/", take_post),
]
pytestmark = pytest.mark.urls("tests.platform.test_problems")


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("/v1/nothing", 404, "not_found"),
        ("/v1/post-only", 405, "method_not_allowed"),
        ("/v1/broken", 500, "internal_error"),
    ],
)
def test_refusals_under_v1_are_json_in_the_one_shape(
    client: Client, settings: Any, debug: bool, address: str, status: int, code: str
) -> None:
    settings.DEBUG = debug

    answer = client.get(address)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["message"]
    assert error["request_id"] == answer["X-Request-Id"]
    assert answer["Content-Type"] == "application/json"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert int(answer["Content-Length"]) == len(answer.content)


def test_method_that_is_not_allowed_is_told_which_one_is(client: Client) -> None:
    answer = client.get("/v1/post-only")

    assert answer["Allow"] == "POST"
    assert answer.json()["error"]["message"] == "GET is not allowed here; POST is."


@pytest.mark.parametrize("address", ["/v1/broken", "/broken/"])
def test_failure_tells_nobody_what_broke(client: Client, address: str) -> None:
    assert b"secret" not in client.get(address).content


def test_strange_address_under_v1_is_named_and_not_believed(client: Client) -> None:
    answer = client.get("/v1/{code}%22%7D%3Cscript%3E%00" + "x" * 300)

    assert answer.status_code == 404
    assert len(answer.json()["error"]["message"]) < 300


def test_view_that_answers_in_json_keeps_its_words(client: Client) -> None:
    assert client.get("/v1/own-words").json() == {"error": {"code": "its_own"}}


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/nothing/", 404, "There is no such page"),
        ("/post-only/", 405, "not done by opening an address"),
        ("/broken/", 500, "Something broke on our side"),
    ],
)
def test_people_get_a_page_that_leads_on(client: Client, address: str, status: int, words: str) -> None:
    answer = client.get(address)

    assert answer.status_code == status
    assert answer["Content-Type"].startswith("text/html")
    assert words in answer.content.decode()
    assert 'href="/dashboard/"' in answer.content.decode()


def test_form_from_elsewhere_is_refused_with_a_page(client: Client) -> None:
    strict = Client(enforce_csrf_checks=True)

    answer = strict.post("/accounts/login/", {"login": "a@acme.example", "password": "x"})

    assert answer.status_code == 403
    assert "The form was not sent" in answer.content.decode()
