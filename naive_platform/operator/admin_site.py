"""The admin's site: raw rows of every model, behind the console's own door and with a content policy of its own."""

import functools
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.views.decorators.csp import csp_override

from accounts.operator_site import OperatorSite
from naive_platform.operator import navigation as console
from naive_platform.signing_in import doors as signing_in

# Unfold's Alpine evaluates the expressions in its attributes and its templates carry styles; nothing else is loosened:
# no script stands in a page, and nothing comes from another host.
POLICY = {
    **settings.SECURE_CSP,
    "script-src": ["'self'", "'unsafe-eval'"],
    "style-src": ["'self'", "'unsafe-inline'"],
}


class ConsoleSite(OperatorSite):
    """As the console: staff alone, with a second factor outside DEBUG."""

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:  # noqa: FBT001, FBT002 - Django's signature.
        inner = super().admin_view(view, cacheable)
        return functools.update_wrapper(csp_override(POLICY)(signing_in.require_staff(inner)), view)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: back to the console, then every model."""
    pages = [
        {"title": entry.title, "link": entry.url, "icon": ICONS[entry.name]}
        for entry in console.ENTRIES
        if entry.name in ICONS
    ]
    return [
        {"title": "Operator console", "separator": False, "items": pages},
        *_models(request),
    ]


ICONS = {
    "companies": "apartment",
    "reconciliation": "balance",
    "economics": "monitoring",
    "upstream": "cloud",
    "audit": "history",
}


def _models(request: HttpRequest) -> list[dict[str, Any]]:
    return [
        {
            "title": app["name"],
            "separator": True,
            "collapsible": False,
            "items": [
                {
                    "title": str(model["name"]).capitalize(),
                    "link": model["admin_url"] or reverse("admin:index"),
                }
                for model in app["models"]
            ],
        }
        for app in admin.site.get_app_list(request)
    ]
