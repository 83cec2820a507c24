"""What a call needs beyond its hold, what people decide, usage by the hour, and a ledger that is chained.

The columns that older tables got are in SQL only: Django keeps no state of what it does not manage.
"""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_books")]

    operations = [
        migrations.RunSQL((SQL / "0002_functions.sql").read_text()),
        migrations.RunSQL((SQL / "0002_tables.sql").read_text()),
        migrations.RunSQL((SQL / "0002_rows.sql").read_text()),
        migrations.CreateModel(
            name="Decision",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "kind", "reference", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("kind", models.TextField()),
                ("reference", models.TextField()),
                ("decision", models.TextField(choices=[("charge", "Charge"), ("void", "Void")])),
                ("actor", models.TextField()),
                ("reason", models.TextField()),
                ("cost_usd", models.DecimalField(null=True)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "billing_decision",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="HoldExtension",
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
                ("amount_nanocredits", models.BigIntegerField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "billing_hold_extension",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Idempotency",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "company_id",
                        "key_sha256",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("key_sha256", models.BinaryField()),
                ("fingerprint", models.BinaryField()),
                ("hold_id", models.UUIDField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "verbose_name_plural": "idempotency",
                "db_table": "billing_idempotency",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="SecondLook",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "company_id", "hold_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("hold_id", models.UUIDField()),
                ("generation_id", models.TextField()),
                ("number", models.IntegerField()),
                ("next_at", models.DateTimeField()),
            ],
            options={
                "db_table": "billing_second_look",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Usage",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "company_id",
                        "hour",
                        "tenant_user_id",
                        "key_id",
                        "kit_id",
                        "model",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("hour", models.DateTimeField()),
                ("tenant_user_id", models.UUIDField()),
                ("key_id", models.UUIDField()),
                ("kit_id", models.UUIDField()),
                ("model", models.TextField()),
                ("calls", models.BigIntegerField()),
                ("voided_calls", models.BigIntegerField()),
                ("tokens_prompt", models.BigIntegerField()),
                ("tokens_completion", models.BigIntegerField()),
                ("cost_usd", models.DecimalField()),
                ("charged_nanocredits", models.DecimalField()),
                ("held_nanocredits", models.DecimalField()),
                ("overrun_nanocredits", models.DecimalField()),
            ],
            options={
                "verbose_name_plural": "usage",
                "db_table": "billing_usage",
                "managed": False,
            },
        ),
    ]
