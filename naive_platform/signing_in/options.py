"""The settings of django-allauth, which asks here for each by its name; the operator's own are in settings.py."""

from typing import Any

from django.conf import settings

FORMS = "naive_platform.signing_in.forms"
FACTORS = "naive_platform.signing_in.second_factor_forms"

_FIXED: dict[str, Any] = {
    "ACCOUNT_ADAPTER": "naive_platform.signing_in.adapter.AccountAdapter",
    "ACCOUNT_FORMS": {
        "login": f"{FORMS}.SignInForm",
        "signup": f"{FORMS}.SignUpForm",
        "add_email": f"{FORMS}.ChangeEmailForm",
        "change_password": f"{FORMS}.ChangePasswordForm",
        "set_password": f"{FORMS}.SetPasswordForm",
        "reset_password": f"{FORMS}.ResetPasswordForm",
        "reset_password_from_key": f"{FORMS}.NewPasswordForm",
        "reauthenticate": f"{FORMS}.ReauthenticateForm",
    },
    "ACCOUNT_LOGIN_METHODS": {"email"},
    "ACCOUNT_SIGNUP_FIELDS": ["email*", "password1*"],
    "ACCOUNT_USER_MODEL_USERNAME_FIELD": None,
    "ACCOUNT_CHANGE_EMAIL": True,
    "ACCOUNT_EMAIL_SUBJECT_PREFIX": "",
    "ACCOUNT_REAUTHENTICATION_REQUIRED": True,
    "ACCOUNT_SESSION_REMEMBER": True,
    # Tries are counted by naive_platform/throttles.py, which goes on without Valkey.
    "ACCOUNT_RATE_LIMITS": False,
    "MFA_RATE_LIMITS": False,
    "MFA_ADAPTER": "naive_platform.signing_in.second_factors.MFAAdapter",
    "MFA_FORMS": {
        "authenticate": f"{FACTORS}.CodeForm",
        "reauthenticate": f"{FACTORS}.CodeAgainForm",
        "activate_totp": f"{FACTORS}.ActivateForm",
        "add_webauthn": f"{FACTORS}.AddPasskeyForm",
        "edit_webauthn": f"{FACTORS}.RenamePasskeyForm",
        "authenticate_webauthn": f"{FACTORS}.PasskeyForm",
        "reauthenticate_webauthn": f"{FACTORS}.PasskeyAgainForm",
        "login_webauthn": f"{FACTORS}.SignInByPasskeyForm",
    },
    "MFA_SUPPORTED_TYPES": ["totp", "recovery_codes", "webauthn"],
    "MFA_PASSKEY_LOGIN_ENABLED": True,
    "MFA_TOTP_ISSUER": "Naive",
    # Steps of 30 seconds that somebody's clock may be off, either way.
    "MFA_TOTP_TOLERANCE": 1,
    "USERSESSIONS_ADAPTER": "naive_platform.signing_in.adapter.SessionsAdapter",
}


def get(name: str, default: Any) -> Any:
    """What allauth is to do; `default` is its own."""
    if name == "ACCOUNT_EMAIL_VERIFICATION":
        return "optional" if settings.EMAIL_URL else "none"
    if name == "ACCOUNT_EMAIL_NOTIFICATIONS":
        return bool(settings.EMAIL_URL)
    if name == "MFA_ALLOW_UNVERIFIED_EMAIL":
        # Where nobody can confirm an address, that must not keep anybody from a second factor.
        return not settings.EMAIL_URL
    return _FIXED.get(name, default)
