"""A kit counts its changes, so that two editors cannot overwrite each other; lists of users are served by indexes."""

from django.db import migrations, models

# By the database, so that no way of changing a kit can forget to count.
FORWARD = """
CREATE FUNCTION accounts_count_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version;
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.version := OLD.version + 1;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER accounts_accountkit_version BEFORE UPDATE ON accounts_accountkit
    FOR EACH ROW EXECUTE FUNCTION accounts_count_version();

CREATE INDEX accounts_tenantuser_search_email
    ON accounts_tenantuser (company_id, lower(email) text_pattern_ops);
CREATE INDEX accounts_tenantuser_search_label
    ON accounts_tenantuser (company_id, lower(label) text_pattern_ops);
CREATE INDEX accounts_tenantuser_search_external_id
    ON accounts_tenantuser (company_id, lower(external_id) text_pattern_ops);
"""
BACKWARD = """
DROP INDEX accounts_tenantuser_search_external_id;
DROP INDEX accounts_tenantuser_search_label;
DROP INDEX accounts_tenantuser_search_email;
DROP TRIGGER accounts_accountkit_version ON accounts_accountkit;
DROP FUNCTION accounts_count_version();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_webhooks")]

    operations = [
        migrations.AddField(
            model_name="accountkit",
            name="version",
            field=models.PositiveBigIntegerField(db_default=1, default=1, editable=False),
        ),
        migrations.AddIndex(
            model_name="tenantuser",
            index=models.Index(fields=["company", "account_kit", "id"], name="accounts_tenantuser_of_kit"),
        ),
        migrations.AddIndex(
            model_name="tenantuser",
            index=models.Index(fields=["company", "status", "id"], name="accounts_tenantuser_status_id"),
        ),
        migrations.AddIndex(
            model_name="tenantuser",
            index=models.Index(fields=["company", "created_at"], name="accounts_tenantuser_created"),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
