"""What a browser takes from us, compressed: static files once for all, pages as they are made.

The API's answers are sent as they are: their readers are programs, and their ETags speak of those very bytes.
"""

import gzip
import tempfile
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.gzip import GZipMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

# Below this a packet is a packet. Unit: bytes.
SIZE_MIN = 1_000
PACKED = (".css", ".js", ".json", ".svg")


class PackedFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # It has no types.
    """WhiteNoise, which serves a compressed file instead of one where it is told of it."""

    def get_static_file(self, path: str, url: str, stat_cache: Any = None) -> StaticFile:
        """One of our own files, with its compressed form; the admin's are not worth the time at a start."""
        found = super().get_static_file(path, url, stat_cache)
        packed = _packed(Path(path))
        if packed is None:
            return found
        ((_, _, headers),) = found.alternatives
        return StaticFile(path, headers, encodings={"gzip": str(packed)})


def _packed(path: Path) -> Path | None:
    """The file compressed, made once for each of its versions; None where that is not worth it, or not possible."""
    stat = path.stat()
    is_ours = any(path.is_relative_to(folder) for folder in settings.STATICFILES_DIRS)
    if not is_ours or path.suffix not in PACKED or stat.st_size < SIZE_MIN:
        return None
    folder = settings.DATA_DIR / "packed"
    packed: Path = folder / f"{path.parent.name}-{path.name}-{stat.st_mtime_ns:x}-{stat.st_size:x}.gz"
    try:
        if not packed.exists():
            folder.mkdir(parents=True, exist_ok=True)
            # Several processes may do this at once: each writes the same bytes, and nobody reads half of them.
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as half:
                half.write(gzip.compress(path.read_bytes(), mtime=0))
            Path(half.name).replace(packed)
    except OSError:
        return None
    return packed


def page(request: HttpRequest, answer: HttpResponse) -> HttpResponse:
    """A page for whoever takes gzip; Django blurs its length, so that nobody can read from it what is in the page."""
    return cast("HttpResponse", _packing.process_response(request, answer))


def _no_view(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError


_packing = GZipMiddleware(_no_view)
