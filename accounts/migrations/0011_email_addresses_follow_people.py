"""What django-allauth knows of a person's own address follows the person's row, whoever writes it."""

from django.db import migrations

# The person's row is the truth; allauth's is its shadow, primary and unverified or verified as the person is. Beside it
# may stand one more row that is not primary: the address that a person wants to change to.
FORWARD = """
CREATE FUNCTION accounts_shadow_email() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND lower(OLD.email) <> lower(NEW.email) THEN
        -- The one before, and a change that was asked for and is overtaken.
        DELETE FROM account_emailaddress WHERE user_id = NEW.id AND email <> lower(NEW.email);
    END IF;
    INSERT INTO account_emailaddress (user_id, email, verified, "primary")
    VALUES (NEW.id, lower(NEW.email), NEW.email_verified_at IS NOT NULL, true)
    ON CONFLICT (user_id, email) DO UPDATE SET verified = EXCLUDED.verified, "primary" = true;
    RETURN NULL;
END $$;

CREATE TRIGGER accounts_user_shadow_email
    AFTER INSERT OR UPDATE OF email, email_verified_at ON accounts_user
    FOR EACH ROW EXECUTE FUNCTION accounts_shadow_email();
"""
BACKWARD = """
DROP TRIGGER accounts_user_shadow_email ON accounts_user;
DROP FUNCTION accounts_shadow_email();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0010_invitations"),
        ("account", "0009_emailaddress_unique_primary_email"),
    ]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
