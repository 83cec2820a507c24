"""ETag, If-Match and If-None-Match: which state of a record an editor has read, and whether it is still that one."""

from django.utils.http import parse_etags
from rest_framework.request import Request

from accounts import fields

IF_MATCH, IF_NONE_MATCH = "If-Match", "If-None-Match"
_ANY = "*"
# A proxy that compresses an answer weakens its ETag; ours name a state of the record, which that does not change.
_WEAK = "W/"


def wanted(request: Request) -> frozenset[str] | None:
    """The states in which a change may be made; None where any will do. Errors: InvalidInput."""
    found = _read(request, IF_MATCH)
    return None if found is None or _ANY in found else found


def is_known(request: Request, etag: str) -> bool:
    """Whether the caller has this state already. Errors: InvalidInput."""
    found = _read(request, IF_NONE_MATCH)
    return found is not None and (_ANY in found or etag in found)


def _read(request: Request, header: str) -> frozenset[str] | None:
    text = request.headers.get(header)
    if text is None:
        return None
    found = frozenset(tag.removeprefix(_WEAK) for tag in parse_etags(text))
    if not found:
        raise fields.refuse(header, 'must be an ETag as it was answered, such as "v3", or *.')
    return found
