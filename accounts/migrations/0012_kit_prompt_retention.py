"""A kit says for how many days the prompts and answers of its calls are stored, and of which moment the oldest are."""

from django.db import migrations, models

# By the database, so that no way of changing a kit can forget it: what was stored before the switch was last turned on,
# or is past the shortest time since, is nobody's to read any more, whatever the kit says later.
FORWARD = """
ALTER TABLE accounts_accountkit ADD CONSTRAINT accounts_accountkit_prompt_retention
    CHECK (prompt_retention_days BETWEEN 1 AND 365);

CREATE FUNCTION accounts_prompts_since() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.prompt_retention_days IS NULL THEN
        NEW.prompts_since_at := NULL;
    ELSIF TG_OP = 'INSERT' OR OLD.prompt_retention_days IS NULL THEN
        -- Calls are known by the millisecond.
        NEW.prompts_since_at := date_trunc('milliseconds', now());
    ELSIF NEW.prompt_retention_days < OLD.prompt_retention_days THEN
        NEW.prompts_since_at :=
            greatest(OLD.prompts_since_at, now() - NEW.prompt_retention_days * interval '1 day');
    ELSE
        NEW.prompts_since_at := OLD.prompts_since_at;
    END IF;
    RETURN NEW;
END $$;

-- Triggers run in the order of their names: this one before the one that counts versions.
CREATE TRIGGER accounts_accountkit_prompts BEFORE INSERT OR UPDATE ON accounts_accountkit
    FOR EACH ROW EXECUTE FUNCTION accounts_prompts_since();
"""
BACKWARD = """
DROP TRIGGER accounts_accountkit_prompts ON accounts_accountkit;
DROP FUNCTION accounts_prompts_since();
ALTER TABLE accounts_accountkit DROP CONSTRAINT accounts_accountkit_prompt_retention;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0011_email_addresses_follow_people")]

    operations = [
        migrations.AddField(
            model_name="accountkit",
            name="prompt_retention_days",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="accountkit",
            name="prompts_since_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
