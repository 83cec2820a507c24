"""A page of a list: the latest rows first, and where the next page begins."""

from uuid import UUID

from django.db.models import Model, QuerySet


def latest[M: Model](rows: QuerySet[M], *, limit: int, before_id: UUID | None) -> tuple[list[M], UUID | None]:
    """At most `limit` rows, of those before `before_id`; and what the next ones are before, None at the end.

    Shape: the model's ids are UUIDs that follow time.
    """
    if before_id is not None:
        rows = rows.filter(pk__lt=before_id)
    found = list(rows.order_by("-pk")[: limit + 1])
    return found[:limit], found[limit - 1].pk if len(found) > limit else None
