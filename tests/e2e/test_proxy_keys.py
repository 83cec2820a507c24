"""What a key may open on the proxy: its own company, as far as its role and its cap go, and no kit's gate."""

from decimal import Decimal
from typing import Any

from django.utils import timezone

from accounts import keys
from tests import factories
from tests.e2e.conftest import Platform
from tests.e2e.threats import BASE, BODY, CHAT, require_nothing


def issue(member: factories.Cast, **narrowed: Any) -> str:
    found = keys.create(
        company_id=member.company.id,
        name="narrow",
        created_by_id=member.owner.id,
        now=timezone.now(),
        **{"role": "member", **narrowed},
    )
    return str(found.secret)


def test_narrow_keys_open_nothing_and_a_read_only_one_reads(clean: Platform, acme: factories.Cast) -> None:
    sealed, scoped = (
        issue(acme, active_tenant_user_id=acme.tenant_user.id),
        issue(acme, account_kit_id=acme.kit.id),
    )
    for key in (sealed, scoped):
        for answer in (clean.post(key, BODY, path=CHAT), clean.get(key, f"{BASE}/models")):
            assert answer.status_code == 403
            assert answer.json()["error"]["details"]["reason"] == "key_scope"
    viewer = issue(acme, role="viewer")
    assert clean.get(viewer, f"{BASE}/models").status_code == 200
    assert clean.post(viewer, BODY, path=CHAT).status_code == 403
    require_nothing(clean, acme)


def test_cap_of_the_key_holds_and_the_kit_does_not(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"enabled": False})
    capped = issue(acme, cap_credits=Decimal("0.000001"), cap_period="day")
    answer = clean.post(capped, BODY, path=CHAT)
    assert answer.status_code == 402
    assert answer.json()["error"]["details"]["limit"] == "key_cap"
    require_nothing(clean, acme)
    assert clean.post(acme.secret, BODY, path=CHAT).status_code == 200
