"""/v1/audit and /v1/audit/export: who changed what, page by page or as one file."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http.response import HttpResponseBase
from django.utils import timezone
from orjson import Fragment
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import audit
from accounts.audit import Filters, Line
from accounts.models import AuditEntry
from naive_platform import sheets
from naive_platform.api import contract, routes, shapes, wire
from naive_platform.api.routes import Route

# Entries read at once for a file; what is in memory of it at any time: of the longest (kits, 160 KB each), 16 MB.
BATCH = 100
FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}
COLUMNS = (
    *("id", "created_at", "action", "actor_kind", "actor_id", "actor_label", "person_id", "ip", "request_id"),
    *("target_kind", "target_id", "target_label", "before", "after", "reason"),
)


class FiltersQuery(shapes.Query):
    action = shapes.Text(max_length=64, default=None, help_text="Such as `account_kit.updated`.")
    actor_kind = shapes.Choice(AuditEntry.Actor.values, default=None, help_text="What kind of caller did it.")
    actor_id = shapes.Id(default=None, help_text="The id of the key, session token or person.")
    target_kind = shapes.Text(max_length=32, default=None, help_text="Such as `account_kit`.")
    target_id = shapes.Text(max_length=255, default=None, help_text="The id of what was changed.")
    request_id = shapes.Text(max_length=64, default=None, help_text="The `X-Request-Id` of the answer.")
    since = shapes.Instant(default=None, help_text="The first moment, such as 2026-11-01T00:00:00Z.")
    until = shapes.Instant(default=None, help_text="The moment after the last.")


class AuditQuery(FiltersQuery, shapes.Page):
    """Filters and the place in the list."""


class ExportQuery(FiltersQuery):
    format = shapes.Choice(FORMATS, default="csv", help_text="A table, or one JSON object a line.")


class ActorShape(shapes.Answer):
    """Who acted; `person_id` is the person behind a credential, where one is known."""

    kind = shapes.Choice(AuditEntry.Actor.values)
    id = shapes.Id(allow_null=True)
    label = shapes.Text(allow_blank=True)
    person_id = shapes.Id(allow_null=True)


class TargetShape(shapes.Answer):
    """What was changed."""

    kind = shapes.Text()
    id = shapes.Text(max_length=255)
    label = shapes.Text(allow_blank=True)


class AuditEntryShape(shapes.Answer):
    """One change: what differs, before and after, secrets masked."""

    id = shapes.Id()
    action = shapes.Text()
    actor = ActorShape()
    ip = shapes.Text(allow_null=True)
    request_id = shapes.Text(allow_blank=True)
    target = TargetShape()
    before = serializers.DictField(allow_null=True)
    after = serializers.DictField(allow_null=True)
    reason = shapes.Text(allow_blank=True, max_length=audit.REASON_LENGTH_MAX)
    created_at = shapes.Instant()


class AuditShape(shapes.Answer):
    audit_entries = AuditEntryShape(many=True)
    next_cursor = shapes.Text(allow_null=True)


class Audit(Route):
    """GET /v1/audit?action=&actor_kind=&…"""

    name = "audit"

    @contract.describe(
        summary="Read the audit log, the latest entry first", query=AuditQuery, answers={200: AuditShape}
    )
    def get(self, request: Request) -> Response:
        found = audit.page(
            company_id=self.company_id,
            filters=_filters(self.query),
            limit=self.query["limit"],
            before_id=routes.cursor(self.query["cursor"], kind=UUID),
        )
        return routes.answer(
            {
                "audit_entries": [entry_object(line) for line in found.lines],
                "next_cursor": routes.next_cursor(found.before_id),
            }
        )


class AuditExport(Route):
    """GET /v1/audit/export?format=csv|jsonl&action=&…"""

    name = "audit-export"

    @contract.describe(
        summary="Take the audit log away as a file",
        query=ExportQuery,
        answers={200: ("text/csv", "application/jsonl")},
    )
    def get(self, request: Request) -> HttpResponseBase:
        return file(
            company_id=self.company_id,
            filters=_filters(self.query),
            wanted=self.query["format"],
            now=timezone.now(),
        )


def file(*, company_id: UUID, filters: Filters, wanted: str, now: datetime) -> HttpResponseBase:
    """A company's entries as one of FORMATS, sent as they are read."""
    write = _csv if wanted == "csv" else _jsonl

    def piece(before_id: UUID | None) -> tuple[bytes, UUID | None]:
        found = audit.page(company_id=company_id, filters=filters, limit=BATCH, before_id=before_id)
        return write(found.lines), found.before_id

    return sheets.sent(
        name=f"audit-{now:%Y-%m-%d}.{wanted}",
        content_type=FORMATS[wanted],
        head=sheets.written([list(COLUMNS)]) if wanted == "csv" else b"",
        piece=piece,
    )


def entry_object(line: Line) -> dict[str, Any]:
    """What a client reads of an entry."""
    return {
        "id": line.id,
        "action": line.action,
        "actor": {
            "kind": line.actor_kind,
            "id": line.actor_id,
            "label": line.actor_label,
            "person_id": line.person_id,
        },
        "ip": line.ip,
        "request_id": line.request_id,
        "target": {"kind": line.target_kind, "id": line.target_id, "label": line.target_label},
        "before": Fragment(line.before or "null"),
        "after": Fragment(line.after or "null"),
        "reason": line.reason,
        "created_at": line.created_at,
    }


def _filters(query: dict[str, Any]) -> Filters:
    return Filters(**{field.name: query[field.name] for field in dataclasses.fields(Filters)})


def _jsonl(lines: Sequence[Line]) -> bytes:
    return b"".join(wire.dumps(entry_object(line)) + b"\n" for line in lines)


def _csv(lines: Sequence[Line]) -> bytes:
    return sheets.written([[getattr(line, name) for name in COLUMNS] for line in lines])
