"""The books: wallets, holds, settlements, entries, budgets; what writes them is in billing/sql/functions."""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.RunSQL((SQL / "0001_tables.sql").read_text()),
        migrations.CreateModel(
            name="Anomaly",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "kind", "reference", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("kind", models.TextField()),
                ("reference", models.TextField()),
                ("company_id", models.UUIDField(null=True)),
                ("hold_id", models.UUIDField(null=True)),
                ("details", models.JSONField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "verbose_name_plural": "anomalies",
                "db_table": "billing_anomaly",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Budget",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "company_id",
                        "scope",
                        "scope_id",
                        "period_start",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("scope", models.TextField()),
                ("scope_id", models.UUIDField()),
                ("period_start", models.DateField()),
                ("spent_nanocredits", models.BigIntegerField()),
                ("held_nanocredits", models.BigIntegerField()),
            ],
            options={
                "db_table": "billing_budget",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Correction",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "company_id",
                        "hold_id",
                        "number",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("hold_id", models.UUIDField()),
                ("number", models.IntegerField()),
                ("reference", models.TextField()),
                ("cost_usd", models.DecimalField()),
                ("charged_nanocredits", models.BigIntegerField()),
                ("source", models.TextField()),
                ("generation_id", models.TextField(null=True)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "billing_correction",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Entry",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "company_id", "seq", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("seq", models.BigIntegerField()),
                (
                    "action",
                    models.TextField(
                        choices=[
                            ("llm_call", "Llm Call"),
                            ("credit_topup", "Credit Topup"),
                            ("grant", "Grant"),
                            ("refund", "Refund"),
                            ("correction", "Correction"),
                            ("chargeback", "Chargeback"),
                        ]
                    ),
                ),
                ("reference", models.TextField()),
                ("amount_nanocredits", models.BigIntegerField()),
                ("counter_account", models.TextField()),
                ("balance_after_nanocredits", models.BigIntegerField()),
                ("note", models.TextField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "billing_entry",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Hold",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "company_id", "hold_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("hold_id", models.UUIDField()),
                ("key_id", models.UUIDField()),
                ("kit_id", models.UUIDField()),
                ("tenant_user_id", models.UUIDField()),
                ("amount_nanocredits", models.BigIntegerField()),
                ("is_price_known", models.BooleanField()),
                ("markup", models.DecimalField()),
                ("credit_value_usd", models.DecimalField()),
                ("ttl_s", models.IntegerField()),
                ("caps", models.JSONField(null=True)),
                ("details", models.JSONField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "billing_hold",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="OpenHold",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "company_id", "hold_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("hold_id", models.UUIDField()),
                ("amount_nanocredits", models.BigIntegerField()),
                ("generation_id", models.TextField(null=True)),
                (
                    "stage",
                    models.TextField(
                        choices=[("held", "Held"), ("dispatched", "Dispatched"), ("parked", "Parked")]
                    ),
                ),
                ("next_at", models.DateTimeField(null=True)),
                ("attempts", models.IntegerField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "billing_open_hold",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Settlement",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "company_id", "hold_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("hold_id", models.UUIDField()),
                ("kind", models.TextField(choices=[("post", "Post"), ("void", "Void")])),
                ("cost_usd", models.DecimalField(null=True)),
                ("charged_nanocredits", models.BigIntegerField()),
                ("source", models.TextField()),
                ("generation_id", models.TextField(null=True)),
                ("details", models.JSONField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "billing_settlement",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Wallet",
            fields=[
                ("company_id", models.UUIDField(primary_key=True, serialize=False)),
                ("posted_nanocredits", models.BigIntegerField()),
                ("held_nanocredits", models.BigIntegerField()),
                ("floor_nanocredits", models.BigIntegerField()),
                ("frozen", models.BooleanField()),
                ("version", models.BigIntegerField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "billing_wallet",
                "managed": False,
            },
        ),
    ]
