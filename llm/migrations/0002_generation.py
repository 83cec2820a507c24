"""The view a generation is read from. It joins on the money tables' keys, so one call costs three index probes."""

from django.db import migrations, models

CREATE = """
CREATE VIEW llm_generation AS
SELECT h.hold_id, h.company_id, h.key_id, h.kit_id, h.tenant_user_id,
       CASE WHEN s.kind = 'post' THEN 'settled' WHEN s.kind = 'void' THEN 'voided' ELSE o.stage END AS state,
       coalesce(s.generation_id, o.generation_id, '') AS generation_id,
       coalesce(s.details ->> 'model', h.details ->> 'model', '') AS model,
       coalesce(s.details ->> 'provider', '') AS provider,
       coalesce((h.details ->> 'streamed')::boolean, false) AS is_streamed,
       coalesce(c.cost_usd, s.cost_usd) AS cost_usd,
       coalesce(c.charged_nanocredits, s.charged_nanocredits) AS charged_nanocredits,
       h.amount_nanocredits AS held_nanocredits,
       coalesce(s.source, '') AS source,
       h.details || coalesce(s.details, '{}') AS facts,
       h.created_at,
       s.created_at AS settled_at
  FROM billing_hold h
  LEFT JOIN billing_open_hold o ON o.company_id = h.company_id AND o.hold_id = h.hold_id
  LEFT JOIN billing_settlement s ON s.company_id = h.company_id AND s.hold_id = h.hold_id
  LEFT JOIN LATERAL (
       SELECT k.cost_usd, k.charged_nanocredits FROM billing_correction k
        WHERE k.company_id = h.company_id AND k.hold_id = h.hold_id ORDER BY k.number DESC LIMIT 1) c ON true
"""


class Migration(migrations.Migration):
    dependencies = [("llm", "0001_catalog"), ("billing", "0001_books")]

    operations = [
        migrations.RunSQL(
            CREATE,
            "DROP VIEW llm_generation",
            state_operations=[
                migrations.CreateModel(
                    name="Generation",
                    fields=[
                        ("hold_id", models.UUIDField(primary_key=True, serialize=False)),
                        ("company_id", models.UUIDField()),
                        ("key_id", models.UUIDField()),
                        ("kit_id", models.UUIDField()),
                        ("tenant_user_id", models.UUIDField()),
                        (
                            "state",
                            models.CharField(
                                max_length=12,
                                choices=[
                                    ("held", "Held"),
                                    ("dispatched", "Dispatched"),
                                    ("parked", "Parked"),
                                    ("settled", "Settled"),
                                    ("voided", "Voided"),
                                ],
                            ),
                        ),
                        ("generation_id", models.CharField(blank=True, max_length=200)),
                        ("model", models.CharField(max_length=256)),
                        ("provider", models.CharField(blank=True, max_length=200)),
                        ("is_streamed", models.BooleanField()),
                        ("cost_usd", models.DecimalField(decimal_places=30, max_digits=40, null=True)),
                        ("charged_nanocredits", models.BigIntegerField(null=True)),
                        ("held_nanocredits", models.BigIntegerField()),
                        ("source", models.CharField(blank=True, max_length=16)),
                        ("facts", models.JSONField()),
                        ("created_at", models.DateTimeField()),
                        ("settled_at", models.DateTimeField(null=True)),
                    ],
                    options={"db_table": "llm_generation", "managed": False},
                )
            ],
        )
    ]
