"""What the frame of a page needs that no view of ours renders: the colours this browser prefers, and its clock."""

from django.http import HttpRequest

from naive_platform.dashboard import doors


def looks(request: HttpRequest) -> dict[str, str]:
    """A context processor; what a view says itself wins."""
    return {
        "theme": doors.chosen(request, "theme", doors.THEMES),
        "clock": doors.chosen(request, "clock", doors.CLOCKS) or "utc",
    }
