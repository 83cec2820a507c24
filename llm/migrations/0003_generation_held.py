"""What was held for a generation includes the extensions of its hold."""

from django.db import migrations

VIEW = """
CREATE OR REPLACE VIEW llm_generation AS
SELECT h.hold_id, h.company_id, h.key_id, h.kit_id, h.tenant_user_id,
       CASE WHEN s.kind = 'post' THEN 'settled' WHEN s.kind = 'void' THEN 'voided' ELSE o.stage END AS state,
       coalesce(s.generation_id, o.generation_id, '') AS generation_id,
       coalesce(s.details ->> 'model', h.details ->> 'model', '') AS model,
       coalesce(s.details ->> 'provider', '') AS provider,
       coalesce((h.details ->> 'streamed')::boolean, false) AS is_streamed,
       coalesce(c.cost_usd, s.cost_usd) AS cost_usd,
       coalesce(c.charged_nanocredits, s.charged_nanocredits) AS charged_nanocredits,
       HELD AS held_nanocredits,
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
HELD = """(h.amount_nanocredits + coalesce((SELECT sum(e.amount_nanocredits) FROM billing_hold_extension e
        WHERE e.company_id = h.company_id AND e.hold_id = h.hold_id), 0))::bigint"""


class Migration(migrations.Migration):
    dependencies = [("llm", "0002_generation"), ("billing", "0002_chain_and_usage")]

    operations = [
        migrations.RunSQL(
            VIEW.replace("HELD", HELD),
            VIEW.replace("HELD", "h.amount_nanocredits"),
        )
    ]
