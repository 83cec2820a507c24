"""Deliveries are verified as the official library verifies them, and nothing else passes."""

import base64
import datetime
import json

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from naive import ConfigurationError, WebhookVerificationError, webhooks

SECRET = "whsec_" + base64.b64encode(b"a secret of some length, thirty-two").decode()
OTHER = "whsec_" + base64.b64encode(b"another secret of the same length").decode()
NOW_S = 1_790_000_000
BODY = json.dumps(
    {"type": "credits.low", "timestamp": "2026-09-21T14:13:20Z", "data": {"balance": 0.5}}
).encode()


def headers(*, secret: str = SECRET, body: bytes = BODY, at: int = NOW_S, more: str = "") -> dict[str, str]:
    signature = webhooks.sign(body, message_id="msg_1", timestamp=str(at), secret=secret)
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(at), "Webhook-Signature": f"{more}{signature}"}


def verified(body: bytes | str, told: dict[str, str], *, secret: str = SECRET) -> str:
    return webhooks.verify(body, told, secret=secret, clock=lambda: NOW_S).type


def test_our_delivery_passes() -> None:
    assert verified(BODY, headers()) == "credits.low"
    assert (
        verified(BODY.decode(), {name.lower(): value for name, value in headers().items()}) == "credits.low"
    )
    event = webhooks.verify(BODY, headers(), secret=SECRET, clock=lambda: NOW_S)
    assert event.data == {"balance": 0.5}


def test_one_right_signature_of_several_is_enough() -> None:
    assert verified(BODY, headers(more="v1,bm9uZQ== v2,x ")) == "credits.low"


@pytest.mark.parametrize(
    "change",
    [
        {"Webhook-Signature": ""},
        {"Webhook-Signature": "v1,"},
        {"Webhook-Signature": "v2,x"},
        {"Webhook-Signature": "ü"},
        {"Webhook-Id": "msg_2"},
        {"Webhook-Id": ""},
        {"Webhook-Timestamp": str(NOW_S + 1)},
        {"Webhook-Timestamp": "now"},
        {"Webhook-Timestamp": "-1"},
        {"Webhook-Timestamp": "٣"},
    ],
    ids=str,
)
def test_changed_headers_do_not_pass(change: dict[str, str]) -> None:
    with pytest.raises(WebhookVerificationError):
        verified(BODY, headers() | change)


def test_another_body_or_secret_does_not_pass() -> None:
    for body, told in ((BODY + b" ", headers()), (BODY, headers(secret=OTHER))):
        with pytest.raises(WebhookVerificationError, match="with this secret"):
            verified(body, told)


@pytest.mark.parametrize("age_s", [-301, 301])
def test_old_and_future_deliveries_do_not_pass(age_s: int) -> None:
    with pytest.raises(WebhookVerificationError, match="300 s"):
        verified(BODY, headers(at=NOW_S - age_s))


@pytest.mark.parametrize("age_s", [-300, 300])
def test_clocks_may_be_a_little_apart(age_s: int) -> None:
    assert verified(BODY, headers(at=NOW_S - age_s)) == "credits.low"


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b"{}"], ids=repr)
def test_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookVerificationError, match="no event"):
        verified(body, headers(body=body))


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!", "nv_sk_live_x"])
def test_secret_that_is_none_is_named(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="secret"):
        verified(BODY, headers(), secret=secret)


@given(body=st.binary(max_size=64), key=st.binary(min_size=1, max_size=64))
def test_signature_is_the_official_librarys(body: bytes, key: bytes) -> None:
    from_text = base64.b64encode(key).decode()
    text = body.decode("latin-1")
    official = standardwebhooks.Webhook(from_text)
    at = datetime.datetime.fromtimestamp(NOW_S, tz=datetime.UTC)
    mine = webhooks.sign(text.encode(), message_id="msg_1", timestamp=str(NOW_S), secret=f"whsec_{from_text}")
    assert mine == official.sign("msg_1", at, text)
