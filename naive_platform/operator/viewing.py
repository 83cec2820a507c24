"""Looking on: an operator opens a company's dashboard as its owner would see it, for a reason, and ends it."""

from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from naive_platform.dashboard import doors as dashboard
from naive_platform.dashboard import viewings
from naive_platform.operator import doors
from naive_platform.operator.doors import Desk


class ViewForm(forms.Form):
    reason = forms.CharField(
        max_length=viewings.REASON_LENGTH_MAX, help_text="The company reads it in its audit log."
    )


@doors.page("companies", post=True)
def start(request: HttpRequest, desk: Desk, company_id: UUID) -> HttpResponse:
    company = doors.company(company_id)
    form = ViewForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        viewings.start(
            request.session, company=company, reason=form.cleaned_data["reason"], now=timezone.now()
        )
        return dashboard.done(request, f"You look on at {company.name}.", reverse("dashboard-overview"))
    context = {"subject": company, "form": form, "minutes": viewings.LENGTH.seconds // 60}
    return doors.render(request, desk, "operator/viewing.html", context, status=400 if form.errors else 200)


@doors.page("companies", only_post=True)
def end(request: HttpRequest, desk: Desk) -> HttpResponse:
    found = viewings.end(request.session, now=timezone.now())
    if found is None:
        return dashboard.done(request, "You look on at no company.", reverse("operator-companies"))
    return dashboard.done(
        request, "You look on no more.", reverse("operator-company", args=[found.company_id])
    )
