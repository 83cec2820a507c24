"""/v1/auth: registering, signing in, choosing a company, and who asks."""

import hmac
from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import people, personal_keys, tenants
from accounts.errors import DuplicateRecord, Forbidden, NotFound, Unauthorized
from accounts.keys import REQUESTS_PER_MINUTE_MAX
from accounts.models import CapPeriod, CompanyStatus, Membership, Role, User
from billing import money
from llm.errors import RateLimited
from naive_platform import onboarding, throttles
from naive_platform.api import authentication, contract, routes, shapes, users, wire
from naive_platform.api.callers import Caller
from naive_platform.api.permissions import Permission
from naive_platform.api.routes import Route
from naive_platform.signing_in import letters, second_factors

PASSWORD_LENGTH_MIN = 8
KINDS = ("key", "session", "person")
KEEP = "Keep the api_key: it is not shown again. Send it as `Authorization: Bearer nv_sk_live_…`."
VERIFY = "The opening grant is added once your e-mail address is verified."


class PasswordField(shapes.Text):
    """As it is typed, its outer spaces included."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(max_length=people.PASSWORD_LENGTH_MAX, trim_whitespace=False, **rest)


class RegisterBody(shapes.Body):
    name = shapes.Text()
    email = shapes.Email(max_length=people.EMAIL_LENGTH_MAX)
    password = PasswordField(min_length=PASSWORD_LENGTH_MIN)
    company_name = shapes.Text(required=False, allow_null=True, help_text="Left out: your own name.")


class RegisteredShape(shapes.Answer):
    """A new company, and the key to it, which is shown only here."""

    api_key = shapes.Text()
    company_id = shapes.Id()
    company_name = shapes.Text()
    user_id = shapes.Id(help_text="The default tenant user: for whom calls are that name nobody.")
    credits_remaining = shapes.Amount()
    hint = shapes.Text()


class LoginBody(shapes.Body):
    email = shapes.Text(max_length=people.EMAIL_LENGTH_MAX)
    password = PasswordField()
    mfa_code = shapes.Text(
        max_length=second_factors.CODE_LENGTH_MAX,
        required=False,
        allow_null=True,
        help_text="Of a second factor, by people who have one; of others it is not looked at.",
    )


class NamedCompanyShape(shapes.Answer):
    id = shapes.Id()
    name = shapes.Text()


class LoggedInShape(shapes.Answer):
    """A new key with your role in the company; it opens your other `companies` by select-company."""

    api_key = shapes.Text()
    company_id = shapes.Id()
    company_name = shapes.Text()
    role = shapes.Choice(Role.values)
    companies = NamedCompanyShape(many=True)


class SelectCompanyBody(shapes.Body):
    company_id = shapes.Id()


class SelectedShape(LoggedInShape):
    """The company that was chosen, with a key for it; in the dashboard's session there is none."""

    api_key = shapes.Text(allow_null=True)


class CompanyShape(NamedCompanyShape):
    status = shapes.Choice(CompanyStatus.values)


class OwnKeyShape(shapes.Answer):
    """The API key that asks, or that issued the session token."""

    id = shapes.Id()
    name = shapes.Text()
    cap_credits = shapes.Amount(allow_null=True)
    cap_period = shapes.Choice(CapPeriod.values, allow_null=True)
    requests_per_minute = shapes.Whole(min_value=1, max_value=REQUESTS_PER_MINUTE_MAX, allow_null=True)


class PersonShape(shapes.Answer):
    id = shapes.Id()
    name = shapes.Text()
    email = shapes.Text()


class MeShape(shapes.Answer):
    """Who asks, and what that opens. `key` is null for a person signed in, `session` for all but session tokens."""

    kind = shapes.Choice(KINDS)
    role = shapes.Choice(Role.values)
    is_narrow = shapes.Truth(help_text="Opens the typed llm routes and reads of its own user alone.")
    company = CompanyShape()
    user = users.UserShape(help_text="The tenant user for whom its calls are where they name nobody.")
    account_kit_id = shapes.Id(allow_null=True, help_text="The only kit whose users it may act for.")
    active_tenant_user_id = shapes.Id(allow_null=True, help_text="The only tenant user it may act for.")
    expires_at = shapes.Instant(allow_null=True)
    session_id = shapes.Id(allow_null=True)
    key = OwnKeyShape(allow_null=True)
    person = PersonShape(
        allow_null=True, help_text="Who is signed in, with a password or by a key of their own."
    )
    companies = NamedCompanyShape(many=True, help_text="That person's.")


class Unknown(Route):
    """A route for whoever has no key yet: its Idempotency-Key is known together with what was sent under it."""

    authentication_classes: ClassVar[list[Any]] = []

    @property
    def idempotency_scope(self) -> tuple[UUID, str]:
        # Among nobody's requests but those that say the very same, password included: so no one's key meets another's.
        digest = hmac.digest(settings.KEY_PEPPER.encode(), self.request._request.body, "sha256")
        return UUID(bytes=digest[:16]), "nobody"

    @property
    def address(self) -> str:
        return str(self.request.META.get("REMOTE_ADDR") or "")


class Register(Unknown):
    """POST /v1/auth/register {name, email, password, company_name?}"""

    name = "register"

    @contract.describe(
        summary="Register: a new company with you as its owner",
        body=RegisterBody,
        answers={201: RegisteredShape},
        refuses=(DuplicateRecord, RateLimited),
    )
    def post(self, request: Request) -> Response:
        given, now = self.body, timezone.now()
        throttles.count_registration(address=self.address, email=given["email"], now=now)
        made = onboarding.sign_up(
            email=given["email"],
            password=given["password"],
            name=given["name"],
            company_name=given.get("company_name"),
            now=now,
        )
        letters.ask_to_confirm(request._request, made.user)
        found = {
            "api_key": made.api_key_secret,
            "company_id": made.company.id,
            "company_name": made.company.name,
            "user_id": made.default_user.id,
            "credits_remaining": wire.amount(money.nanocredits_from_credits(made.granted_credits)),
            "hint": KEEP if made.granted_credits else f"{KEEP} {VERIFY}",
        }
        return routes.answer(found, status=201)


class Login(Unknown):
    """POST /v1/auth/login {email, password, mfa_code?}"""

    name = "login"

    @contract.describe(
        summary="Sign in: a new API key with your role; older ones stay",
        body=LoginBody,
        answers={200: LoggedInShape},
        refuses=(Unauthorized, Forbidden, RateLimited),
    )
    def post(self, request: Request) -> Response:
        given, now = self.body, timezone.now()
        throttles.count_sign_in(address=self.address, email=given["email"], now=now)
        prove = second_factors.proof(given.get("mfa_code"), now=now)
        signed_in = personal_keys.sign_in(
            email=given["email"], password=given["password"], prove=prove, now=now
        )
        return routes.answer(_entered(signed_in.member, signed_in.members, api_key=signed_in.secret))


class SelectCompany(Route):
    """POST /v1/auth/select-company {company_id}"""

    name = "select-company"

    def admit(self, caller: Caller, permission: Permission, *, is_mutation: bool) -> None:
        # Nothing of the company one leaves is changed: it may be suspended.
        super().admit(caller, permission, is_mutation=False)

    @contract.describe(
        summary="Go on in another company of yours: a key for it, or the dashboard's session in it",
        body=SelectCompanyBody,
        answers={200: SelectedShape},
        refuses=(NotFound,),
    )
    def post(self, request: Request) -> Response:
        chosen_id, key = self.body["company_id"], self.caller.key
        if key is not None:
            signed_in = personal_keys.change_company(
                company_id=self.company_id, key_id=key.key_id, chosen_id=chosen_id, now=timezone.now()
            )
            return routes.answer(_entered(signed_in.member, signed_in.members, api_key=signed_in.secret))
        person = User.objects.get(id=self.caller.id)
        member, members = personal_keys.note_company(user=person, chosen_id=chosen_id)
        request._request.session[authentication.SESSION_COMPANY] = str(chosen_id)
        return routes.answer(_entered(member, members, api_key=None))


class Me(Route):
    """GET /v1/auth/me"""

    name = "me"

    @contract.describe(summary="Read who asks, and what that opens", answers={200: MeShape})
    def get(self, request: Request) -> Response:
        caller = self.caller
        user_id = caller.sealed_user_id or caller.default_user_id
        person = _person(caller)
        found = {
            "kind": caller.kind.value,
            "role": caller.role,
            "is_narrow": caller.is_narrow,
            "company": {
                "id": caller.company_id,
                "name": caller.company_name,
                "status": caller.company_status,
            },
            "user": users.user_object(tenants.get(company_id=caller.company_id, user_id=user_id)),
            "account_kit_id": caller.kit_scope_id,
            "active_tenant_user_id": caller.sealed_user_id,
            "expires_at": caller.key and caller.key.expires_at,
            "session_id": caller.key and caller.key.session_id,
            "key": _key_object(caller),
            "person": person and {"id": person.id, "name": person.name, "email": person.email},
            "companies": _named(personal_keys.memberships(person.id)) if person else [],
        }
        return routes.answer(found)


def _entered(member: Membership, members: Iterable[Membership], *, api_key: str | None) -> dict[str, Any]:
    return {
        "api_key": api_key,
        "company_id": member.company_id,
        "company_name": member.company.name,
        "role": member.role,
        "companies": _named(members),
    }


def _named(members: Iterable[Membership]) -> list[dict[str, Any]]:
    return [{"id": member.company_id, "name": member.company.name} for member in members]


def _person(caller: Caller) -> User | None:
    """Whom the credential stands for: a company's own key stands for the company alone, whoever made it."""
    if (
        caller.is_narrow
        or caller.person_id is None
        or (caller.key is not None and not caller.key.is_personal)
    ):
        return None
    return User.objects.filter(id=caller.person_id).first()


def _key_object(caller: Caller) -> dict[str, Any] | None:
    if caller.key is None:
        return None
    return {
        "id": caller.key.key_id,
        "name": caller.key.key_name,
        "cap_credits": caller.key.cap_credits,
        "cap_period": caller.key.cap_period,
        "requests_per_minute": caller.key.requests_per_minute,
    }
