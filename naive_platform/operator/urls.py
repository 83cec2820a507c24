"""Every page of the operator console, below /operator/."""

from django.urls import path

from naive_platform.operator import (
    anomalies,
    audit,
    companies,
    company,
    economics,
    movements,
    reconciliation,
    standing,
    upstream,
    viewing,
)

urlpatterns = [
    path("", companies.listed, name="operator-companies"),
    path("companies/<uuid:company_id>/", company.shown, name="operator-company"),
    path("companies/<uuid:company_id>/note/", company.note, name="operator-company-note"),
    path("companies/<uuid:company_id>/move/", movements.move, name="operator-move"),
    path("companies/<uuid:company_id>/standing/", standing.standing, name="operator-standing"),
    path("companies/<uuid:company_id>/view/", viewing.start, name="operator-viewing"),
    path("movements/<uuid:request_id>/", movements.decide, name="operator-movement-request"),
    path("viewing/end/", viewing.end, name="operator-viewing-end"),
    path("reconciliation/", reconciliation.overview, name="operator-reconciliation"),
    path("reconciliation/anomalies/", reconciliation.queue, name="operator-anomalies"),
    path("reconciliation/anomaly/", anomalies.anomaly, name="operator-anomaly"),
    path("reconciliation/alerts/<int:alert_id>/", reconciliation.resolve, name="operator-alert"),
    path("economics/", economics.overview, name="operator-economics"),
    path("economics/export/", economics.export, name="operator-economics-export"),
    path("upstream/", upstream.overview, name="operator-upstream"),
    path("audit/", audit.listed, name="operator-audit"),
    path("audit/books/", audit.books, name="operator-books"),
    path("audit/books/verify/", audit.verify, name="operator-verify"),
    path("audit/<str:company>/<uuid:entry_id>/", audit.entry, name="operator-audit-entry"),
]
