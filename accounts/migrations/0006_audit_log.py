"""The audit log, which nobody rewrites: not even the owner of the database."""

import django.core.serializers.json
from django.db import migrations, models

import accounts.ids

FORWARD = """
-- The id is unique within its company; an index on it alone would be read past everybody else's entries.
ALTER TABLE accounts_audit_entry DROP CONSTRAINT accounts_audit_entry_pkey;

CREATE FUNCTION accounts_deny() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER no_rewrite BEFORE UPDATE OR DELETE ON accounts_audit_entry
    FOR EACH ROW EXECUTE FUNCTION accounts_deny();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON accounts_audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_deny();
"""
BACKWARD = """
DROP TRIGGER no_truncate ON accounts_audit_entry;
DROP TRIGGER no_rewrite ON accounts_audit_entry;
DROP FUNCTION accounts_deny();
ALTER TABLE accounts_audit_entry ADD PRIMARY KEY (id);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_low_credits_and_idempotent_answers"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("company_id", models.UUIDField(null=True)),
                (
                    "actor_kind",
                    models.CharField(
                        choices=[
                            ("key", "Key"),
                            ("session", "Session"),
                            ("person", "Person"),
                            ("operator", "Operator"),
                            ("platform", "Platform"),
                        ],
                        max_length=16,
                    ),
                ),
                ("actor_id", models.UUIDField(null=True)),
                ("actor_label", models.CharField(blank=True, max_length=200)),
                ("person_id", models.UUIDField(null=True)),
                ("ip", models.GenericIPAddressField(null=True)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                ("action", models.CharField(max_length=64)),
                ("target_kind", models.CharField(max_length=32)),
                ("target_id", models.CharField(max_length=255)),
                ("target_label", models.CharField(blank=True, max_length=200)),
                (
                    "before",
                    models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder, null=True),
                ),
                (
                    "after",
                    models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder, null=True),
                ),
                ("reason", models.TextField(blank=True)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "verbose_name_plural": "audit entries",
                "db_table": "accounts_audit_entry",
                "indexes": [
                    models.Index(fields=["company_id", "action", "-id"], name="accounts_audit_action"),
                    models.Index(
                        fields=["company_id", "actor_kind", "-id"], name="accounts_audit_actor_kind"
                    ),
                    models.Index(fields=["company_id", "actor_id", "-id"], name="accounts_audit_actor_id"),
                    models.Index(
                        fields=["company_id", "target_kind", "-id"], name="accounts_audit_target_kind"
                    ),
                    models.Index(fields=["company_id", "target_id", "-id"], name="accounts_audit_target"),
                    models.Index(fields=["request_id"], name="accounts_audit_request"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("company_id", "id"), name="accounts_audit_company", nulls_distinct=False
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("actor_kind__in", ["key", "session", "person", "operator", "platform"])
                        ),
                        name="accounts_audit_actor",
                    ),
                ],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
