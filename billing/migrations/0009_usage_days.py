"""What each company's days came to by model, user, key and kit, for pages that add up weeks of them."""

from django.db import migrations, models

# Days that were summed before this have none of these rows: their sums are taken again.
TAKE_AGAIN = "update billing_summed_day set is_stale = true"


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0008_daily_sums_and_reports"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsageDay",
            fields=[
                ("day", models.DateField()),
                ("calls", models.BigIntegerField()),
                ("voided_calls", models.BigIntegerField()),
                ("cost_usd", models.DecimalField()),
                ("charged_nanocredits", models.DecimalField()),
                ("overrun_nanocredits", models.DecimalField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "day",
                        "company_id",
                        "axis",
                        "name",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("axis", models.TextField()),
                ("name", models.TextField(db_collation="C")),
                ("tokens_prompt", models.BigIntegerField()),
                ("tokens_completion", models.BigIntegerField()),
                ("held_nanocredits", models.DecimalField()),
            ],
            options={
                "db_table": "billing_usage_day",
            },
        ),
        migrations.RunSQL(TAKE_AGAIN, migrations.RunSQL.noop),
    ]
