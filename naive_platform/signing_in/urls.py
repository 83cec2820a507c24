"""Every page of signing in, below /accounts/: allauth's, of which some are ours instead, each behind one door."""

from collections.abc import Iterable, Iterator

from django.urls import URLPattern, URLResolver, include, path

from naive_platform.signing_in import doors, views


def _behind(patterns: Iterable[URLPattern | URLResolver]) -> Iterator[URLPattern | URLResolver]:
    for one in patterns:
        if isinstance(one, URLResolver):
            inner = list(_behind(one.url_patterns))
            yield URLResolver(one.pattern, inner, one.default_kwargs, one.app_name, one.namespace)
        else:
            yield URLPattern(one.pattern, doors.visit(one.callback), one.default_args, one.name)


urlpatterns = list(
    _behind(
        [
            path("signup/", views.SignUp.as_view(), name="account_signup"),
            path("email/", views.Email.as_view(), name="account_email"),
            path("password/reset/", views.ResetPassword.as_view(), name="account_reset_password"),
            path("2fa/webauthn/login/", views.SignInByPasskey.as_view(), name="mfa_login_webauthn"),
            path("", include("allauth.account.urls")),
            path("2fa/", include("allauth.mfa.urls")),
            path("sessions/", include("allauth.usersessions.urls")),
        ]
    )
)
