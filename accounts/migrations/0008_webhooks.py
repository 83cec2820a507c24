"""Outgoing webhooks: endpoints, secrets, events and deliveries, and the one function that makes events deliveries."""

import django.db.models.deletion
from django.db import migrations, models

import accounts.ids

FORWARD = """
-- RFC 9562: 48 bits of milliseconds, then random ones; as accounts/ids.py makes them.
CREATE FUNCTION accounts_uuid7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(
        uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6
    ), 52, 1), 53, 1), 'hex')::uuid
$$;

-- One event and its deliveries, in the transaction of whatever happened; how many endpoints hear of it. p_data is the
-- JSON of what is told. It takes no lock and meets no constraint that somebody who changes an endpoint could hold:
-- what it is called for, such as a correction of the books, neither waits nor fails.
CREATE FUNCTION accounts_tell_webhooks(
    p_company_id uuid, p_kind text, p_data text, p_at timestamptz, p_only_endpoint_id uuid DEFAULT NULL
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    endpoint_ids uuid[];
    event_id uuid;
BEGIN
    SELECT array_agg(e.id ORDER BY e.id) INTO endpoint_ids FROM accounts_webhook_endpoint e
     WHERE e.company_id = p_company_id AND e.disabled_at IS NULL
       AND (e.id = p_only_endpoint_id OR (p_only_endpoint_id IS NULL AND e.events @> to_jsonb(p_kind)));
    IF endpoint_ids IS NULL THEN
        RETURN 0;
    END IF;
    INSERT INTO accounts_webhook_event (id, company_id, kind, body, created_at)
    VALUES (accounts_uuid7(), p_company_id, p_kind,
            '{"type":' || to_json(p_kind) || ',"timestamp":"'
            || to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '","data":' || p_data || '}', p_at)
    RETURNING id INTO event_id;
    INSERT INTO accounts_webhook_delivery (id, company_id, endpoint_id, event_id, state, attempts, next_at, error,
                                           answer, created_at)
    SELECT accounts_uuid7(), p_company_id, endpoint_id, event_id, 'pending', 0, p_at, '', '', p_at
      FROM unnest(endpoint_ids) endpoint_id;
    RETURN cardinality(endpoint_ids);
END $$;
"""
BACKWARD = """
DROP FUNCTION accounts_tell_webhooks(uuid, text, text, timestamptz, uuid);
DROP FUNCTION accounts_uuid7();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0007_sessions"),
    ]

    operations = [
        migrations.CreateModel(
            name="WebhookEndpoint",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("url", models.CharField(max_length=2048)),
                ("description", models.CharField(blank=True, max_length=200)),
                ("events", models.JSONField()),
                ("disabled_at", models.DateTimeField(null=True)),
                (
                    "disabled_reason",
                    models.CharField(
                        blank=True,
                        choices=[("by_hand", "By Hand"), ("failing", "Failing"), ("gone", "Gone")],
                        max_length=16,
                    ),
                ),
                ("mailed_at", models.DateTimeField(null=True)),
                ("failing_since", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "company",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="webhook_endpoints",
                        to="accounts.company",
                    ),
                ),
            ],
            options={
                "db_table": "accounts_webhook_endpoint",
            },
        ),
        migrations.CreateModel(
            name="WebhookEvent",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("company_id", models.UUIDField()),
                ("kind", models.CharField(max_length=64)),
                ("body", models.TextField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "accounts_webhook_event",
                "indexes": [models.Index(fields=["created_at"], name="accounts_webhook_event_age")],
            },
        ),
        migrations.CreateModel(
            name="WebhookDelivery",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("company_id", models.UUIDField()),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "Pending"), ("delivered", "Delivered"), ("failed", "Failed")],
                        max_length=16,
                    ),
                ),
                ("attempts", models.SmallIntegerField(default=0)),
                ("next_at", models.DateTimeField(null=True)),
                ("claimed_until", models.DateTimeField(null=True)),
                ("attempted_at", models.DateTimeField(null=True)),
                ("status_code", models.SmallIntegerField(null=True)),
                ("error", models.TextField(blank=True)),
                ("answer", models.TextField(blank=True)),
                ("duration_ms", models.IntegerField(null=True)),
                ("delivered_at", models.DateTimeField(null=True)),
                ("replay_of", models.UUIDField(null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "endpoint",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="deliveries",
                        to="accounts.webhookendpoint",
                    ),
                ),
                (
                    "event",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="accounts.webhookevent",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "webhook deliveries",
                "db_table": "accounts_webhook_delivery",
            },
        ),
        migrations.CreateModel(
            name="WebhookSecret",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("sealed", models.BinaryField()),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(null=True)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="secrets",
                        to="accounts.webhookendpoint",
                    ),
                ),
            ],
            options={
                "db_table": "accounts_webhook_secret",
            },
        ),
        migrations.AddIndex(
            model_name="webhookendpoint",
            index=models.Index(
                condition=models.Q(("disabled_reason__in", ["failing", "gone"]), ("mailed_at", None)),
                fields=["disabled_at"],
                name="accounts_webhook_unmailed",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookendpoint",
            constraint=models.UniqueConstraint(fields=("company", "url"), name="accounts_webhook_url"),
        ),
        migrations.AddConstraint(
            model_name="webhookendpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("disabled_at", None), ("disabled_reason", "")),
                    models.Q(
                        ("disabled_at__isnull", False),
                        ("disabled_reason__in", ["by_hand", "failing", "gone"]),
                    ),
                    _connector="OR",
                ),
                name="accounts_webhook_disabled",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(
                condition=models.Q(("state", "pending")),
                fields=["endpoint", "next_at"],
                name="accounts_webhook_due",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(
                condition=models.Q(("state", "pending")), fields=["next_at"], name="accounts_webhook_next"
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(
                condition=models.Q(("claimed_until__isnull", False)),
                fields=["claimed_until"],
                name="accounts_webhook_claimed",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(fields=["endpoint", "-id"], name="accounts_webhook_log"),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(
                condition=models.Q(("state", "failed")),
                fields=["endpoint", "-id"],
                name="accounts_webhook_failed",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(fields=["created_at"], name="accounts_webhook_age"),
        ),
        migrations.AddConstraint(
            model_name="webhookdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("next_at__isnull", False), ("state", "pending")),
                    models.Q(("next_at", None), ("state__in", ["delivered", "failed"])),
                    _connector="OR",
                ),
                name="accounts_webhook_delivery_state",
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
