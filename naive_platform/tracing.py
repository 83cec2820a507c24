"""Whether calls are traced: spans.py, and all that it needs, is only loaded where somebody collects them."""

from django.conf import settings

if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
    from naive_platform import spans

    _recorder: spans.Recorder | None = spans.Recorder()
else:
    _recorder = None


def start() -> None:
    """Trace calls from here on, where that is set up."""
    if _recorder is not None:
        _recorder.start()


async def stop() -> None:
    """Send what is left."""
    if _recorder is not None:
        await _recorder.stop()
