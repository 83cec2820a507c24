"""Every page of the dashboard, below /dashboard/."""

from django.contrib.auth.decorators import login_required
from django.urls import include, path

from naive_platform.dashboard import (
    billing,
    doors,
    exports,
    generations,
    models,
    overview,
    playground,
    prompts,
    statements,
    usage,
)

urlpatterns = [
    path("", overview.overview, name="dashboard-overview"),
    path("company/", login_required(doors.choose_company), name="dashboard-choose-company"),
    path("preferences/", doors.prefer, name="dashboard-prefer"),
    path("generations/", generations.generations, name="dashboard-generations"),
    path("generations/<wanted>/", generations.generation, name="dashboard-generations-call"),
    path("generations/<uuid:hold_id>/prompt/", prompts.prompt, name="dashboard-generation-prompt"),
    path("exports/", exports.exports, name="dashboard-exports"),
    path("exports/<slug:name>.csv", exports.file, name="dashboard-exports-file"),
    path("exports/<uuid:export_id>/file", exports.download, name="dashboard-exports-download"),
    path("exports/<uuid:export_id>/delete", exports.delete, name="dashboard-exports-delete"),
    path("playground/", playground.playground, name="dashboard-playground"),
    path("playground/begin/", playground.begin, name="dashboard-playground-begin"),
    path("playground/end/", playground.end, name="dashboard-playground-end"),
    path("models/", models.models_page, name="dashboard-models"),
    path("models/<path:model_id>/", models.model_page, name="dashboard-models-one"),
    path("billing/", billing.credits, name="dashboard-billing"),
    path("billing/checkout/<checkout_id>/", billing.checkout, name="dashboard-billing-checkout"),
    path("billing/ledger/", billing.ledger_page, name="dashboard-billing-ledger"),
    path("billing/usage/", usage.usage_page, name="dashboard-billing-usage"),
    path("billing/usage.csv", usage.usage_csv, name="dashboard-billing-usage-csv"),
    path("billing/statements/", statements.statements_page, name="dashboard-billing-statements"),
    path("billing/statements/<month>/", statements.statement_page, name="dashboard-billing-statement"),
    path("billing/statements/<month>.csv", statements.statement_csv, name="dashboard-billing-statement-csv"),
    path("billing/statements/<month>.pdf", statements.statement_pdf_file, name="dashboard-billing-statement-pdf"),
    path("", include("naive_platform.dashboard.company_urls")),
    path("", include("naive_platform.dashboard.kit_urls")),
]  # fmt: skip
