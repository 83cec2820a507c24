"""Session tokens sealed to one tenant user; what a key may do in a minute, and which keys signing in gave."""

import django.db.models.deletion
from django.db import migrations, models

import accounts.ids

# A new token is in no cache yet, and an old one is deleted past its end: only a revocation is news to anybody.
FORWARD = """
ALTER TABLE accounts_user_session
    ADD CONSTRAINT accounts_user_session_tenant_user FOREIGN KEY (company_id, tenant_user_id)
        REFERENCES accounts_tenantuser (company_id, id),
    ADD CONSTRAINT accounts_user_session_api_key FOREIGN KEY (company_id, api_key_id)
        REFERENCES accounts_apikey (company_id, id);

CREATE TRIGGER accounts_user_session_changed AFTER UPDATE ON accounts_user_session
    FOR EACH ROW EXECUTE FUNCTION accounts_notify_changed('company_id');
"""
BACKWARD = """
DROP TRIGGER accounts_user_session_changed ON accounts_user_session;
ALTER TABLE accounts_user_session
    DROP CONSTRAINT accounts_user_session_api_key,
    DROP CONSTRAINT accounts_user_session_tenant_user;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0006_audit_log"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="requests_per_minute",
            field=models.IntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="is_personal",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.UniqueConstraint(fields=("company", "id"), name="accounts_apikey_of_company"),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(("requests_per_minute__gte", 1)), name="accounts_apikey_per_minute"
            ),
        ),
        migrations.CreateModel(
            name="UserSession",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "company",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="user_sessions",
                        to="accounts.company",
                    ),
                ),
                (
                    "tenant_user",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="sessions",
                        to="accounts.tenantuser",
                    ),
                ),
                (
                    "api_key",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="sessions",
                        to="accounts.apikey",
                    ),
                ),
            ],
            options={
                "db_table": "accounts_user_session",
                "indexes": [
                    models.Index(
                        fields=["company", "tenant_user", "-id"], name="accounts_user_session_of_user"
                    ),
                    models.Index(fields=["expires_at"], name="accounts_user_session_ends"),
                ],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
