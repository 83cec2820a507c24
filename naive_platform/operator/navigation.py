"""The operator console's pages, in the order of its sidebar."""

from dataclasses import dataclass

from django.urls import reverse


@dataclass(frozen=True, slots=True)
class Entry:
    """One page; `name` is its icon's in icons.svg, too."""

    name: str
    title: str
    to: str

    @property
    def url(self) -> str:
        return reverse(self.to)


ENTRIES = (
    Entry("companies", "Companies", "operator-companies"),
    Entry("reconciliation", "Reconciliation", "operator-reconciliation"),
    Entry("economics", "Economics", "operator-economics"),
    Entry("upstream", "Upstream", "operator-upstream"),
    Entry("audit", "Audit", "operator-audit"),
    Entry("menu", "Raw rows", "admin:index"),
)
