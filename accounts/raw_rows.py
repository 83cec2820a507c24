"""Tables as they are, to look at in the admin: every column, nothing to change, no row counted."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import ActionLocation
from django.db.models import BinaryField, JSONField, Model, TextField
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

if TYPE_CHECKING:
    Unfolded = admin.ModelAdmin[Any]
else:
    Unfolded = ModelAdmin

COLUMNS_MAX = 9


class Rows(Unfolded):
    """Rows in unfold's look."""

    def get_action_choices(
        self,
        request: HttpRequest,
        default_choices: Any = None,
        action_location: Any = ActionLocation.CHANGE_LIST,
    ) -> list[tuple[str, str]]:
        """As Django has it: unfold's own does not know where an action stands yet."""
        chosen = default_choices or [("", "Select action")]
        found: list[tuple[str, str]] = admin.ModelAdmin.get_action_choices(
            self, request, chosen, action_location
        )
        return found


class RawRows(Rows):
    """One table. What it keeps as bytes (digests, what is encrypted) is not shown."""

    show_full_result_count = False
    paginator = InfinitePaginator

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def register(models: Iterable[type[Model]]) -> None:
    """Show these tables, but those whose key is made of several columns: the admin knows one column as a key."""
    for model in models:
        if not model._meta.is_composite_pk:
            admin.site.register(model, type(f"{model.__name__}Rows", (RawRows,), _shown(model)))


def _shown(model: type[Model]) -> dict[str, Any]:
    fields = model._meta.concrete_fields
    shown = [field for field in fields if not isinstance(field, BinaryField)]
    searched = [
        field.name for field in shown if field.primary_key or field.name in ("company_id", "reference")
    ]
    return {
        "exclude": [field.name for field in fields if isinstance(field, BinaryField)],
        "list_display": [field.name for field in shown if not isinstance(field, JSONField)][:COLUMNS_MAX],
        "search_fields": [f"{name}__exact" for name in searched],
        "list_filter": [field.name for field in shown if field.choices and not isinstance(field, TextField)],
        "ordering": ["-pk"],
    }
