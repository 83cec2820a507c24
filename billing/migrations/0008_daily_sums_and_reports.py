"""Sums by the day for the operator's pages, kept true by a mark on each day that was written into after it was over."""

from django.db import migrations, models

import accounts.ids

# A call is summed by the hour of its settlement, so only a correction, or somebody who writes history, comes back to a
# day that is over: for everybody else the condition is all there is. Its name keeps it apart from the books' own
# functions, which are dropped and made anew (billing/functions.py); a trigger stands on this one. It waits for whoever
# takes the sums of that day, and they for it (billing/sums.py): the row is locked even where it is stale already.
MARK = """
create function mark_summed_day() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    insert into billing_summed_day as s (day, is_stale) values ((new.hour at time zone 'UTC')::date, true)
        on conflict (day) do update set is_stale = true where not s.is_stale;
    return null;
end $$;
revoke execute on function mark_summed_day() from public;
create trigger mark_summed_day after insert or update on billing_usage for each row
    when (new.hour < date_trunc('day', statement_timestamp(), 'UTC')) execute function mark_summed_day();
"""
UNMARK = "drop trigger mark_summed_day on billing_usage; drop function mark_summed_day()"
# As with settlements: rows come in the order of time.
CORRECTIONS = """
create index billing_correction_created_at on billing_correction using brin (created_at)
    with (pages_per_range = 32, autosummarize = on)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0007_usage_hour"),
    ]

    operations = [
        migrations.CreateModel(
            name="ModelDay",
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
                        "day", "model", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("model", models.TextField()),
            ],
            options={
                "db_table": "billing_model_day",
            },
        ),
        migrations.CreateModel(
            name="SourceDay",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "day", "source", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("day", models.DateField()),
                ("source", models.TextField()),
                ("calls", models.BigIntegerField()),
                ("charged_nanocredits", models.DecimalField()),
            ],
            options={
                "db_table": "billing_source_day",
            },
        ),
        migrations.CreateModel(
            name="SummedDay",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False)),
                ("summed_at", models.DateTimeField(null=True)),
                ("is_stale", models.BooleanField()),
            ],
            options={
                "db_table": "billing_summed_day",
            },
        ),
        migrations.CreateModel(
            name="Verification",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("asked_by", models.TextField(blank=True)),
                ("asked_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("violation_count", models.IntegerField(null=True)),
                ("open_holds", models.BigIntegerField(null=True)),
                ("cost_usd", models.DecimalField(null=True)),
                ("charged_nanocredits", models.DecimalField(null=True)),
                ("error", models.TextField(blank=True)),
            ],
            options={
                "db_table": "billing_verification",
            },
        ),
        migrations.CreateModel(
            name="CompanyDay",
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
                        "day", "company_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("company_id", models.UUIDField()),
            ],
            options={
                "db_table": "billing_company_day",
                "indexes": [models.Index(fields=["company_id", "day"], name="billing_company_day_company")],
            },
        ),
        migrations.CreateModel(
            name="MovementRequest",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("action", models.TextField()),
                ("amount_nanocredits", models.BigIntegerField()),
                ("reference", models.TextField()),
                ("corrects", models.TextField(blank=True)),
                ("reason", models.TextField()),
                ("asked_by", models.CharField(max_length=255)),
                ("asked_at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("approved", "Approved"), ("rejected", "Rejected")],
                        default="open",
                        max_length=8,
                    ),
                ),
                ("decided_by", models.CharField(blank=True, max_length=255)),
                ("decided_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "billing_movement_request",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "open")),
                        fields=("company_id", "action", "reference"),
                        name="billing_movement_request_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="UpstreamKey",
            fields=[
                (
                    "id",
                    models.SmallIntegerField(default=1, editable=False, primary_key=True, serialize=False),
                ),
                ("asked_at", models.DateTimeField()),
                ("read_at", models.DateTimeField(null=True)),
                ("usage_usd", models.DecimalField(null=True)),
                ("limit_usd", models.DecimalField(null=True)),
                ("remaining_usd", models.DecimalField(null=True)),
                ("error", models.TextField(blank=True)),
            ],
            options={
                "db_table": "billing_upstream_key",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="billing_upstream_key_is_one_row"
                    )
                ],
            },
        ),
        migrations.RunSQL(MARK, UNMARK),
        migrations.RunSQL(CORRECTIONS, "drop index billing_correction_created_at"),
    ]
