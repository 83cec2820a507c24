"""Days compared with upstream's books, what an operator must hear of, and anchors of the chain."""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_chain_and_usage")]

    operations = [
        migrations.RunSQL((SQL / "0003_anchors.sql").read_text()),
        migrations.CreateModel(
            name="Day",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False)),
                ("read_at", models.DateTimeField()),
                (
                    "basis",
                    models.TextField(
                        blank=True, choices=[("key", "Key"), ("activity", "Activity"), ("", "None")]
                    ),
                ),
                ("ours_usd", models.DecimalField(null=True)),
                ("theirs_usd", models.DecimalField(null=True)),
                ("difference_usd", models.DecimalField(null=True)),
                ("gap_usd", models.DecimalField(default=0)),
                ("lost_usd", models.DecimalField(default=0)),
                ("by_model", models.JSONField(null=True)),
                ("open_calls", models.IntegerField(default=0)),
                ("open_usd", models.DecimalField(default=0)),
                ("estimated_calls", models.IntegerField(default=0)),
                ("estimated_usd", models.DecimalField(default=0)),
                ("unattributed_calls", models.IntegerField(default=0)),
                ("unattributed_usd", models.DecimalField(default=0)),
                ("ours_total_usd", models.DecimalField(null=True)),
                ("theirs_total_usd", models.DecimalField(null=True)),
                ("key", models.TextField(blank=True)),
                ("anchor", models.TextField(blank=True)),
                ("anchor_companies", models.IntegerField(default=0)),
                ("note", models.TextField(blank=True)),
                ("closed_at", models.DateTimeField(null=True)),
                ("closed_by", models.TextField(blank=True)),
            ],
            options={
                "db_table": "billing_day",
            },
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.TextField()),
                ("reference", models.TextField()),
                ("company_id", models.UUIDField(null=True)),
                ("message", models.TextField()),
                ("details", models.JSONField()),
                ("count", models.IntegerField()),
                ("raised_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("told_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "billing_alert",
                "constraints": [
                    models.UniqueConstraint(fields=("kind", "reference"), name="billing_alert_is_one")
                ],
            },
        ),
    ]
