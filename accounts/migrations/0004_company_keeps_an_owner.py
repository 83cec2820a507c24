"""A company that has members always has an owner among them, whatever two people do at once."""

from django.db import migrations

# At the end of the transaction, and after taking the company's row, so that the second of two leavers sees the first.
FORWARD = """
CREATE FUNCTION accounts_require_owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM accounts_company WHERE id = OLD.company_id FOR NO KEY UPDATE;
    IF NOT EXISTS (
        SELECT 1 FROM accounts_membership WHERE company_id = OLD.company_id AND role = 'owner'
    ) THEN
        RAISE EXCEPTION 'company % would have no owner', OLD.company_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'accounts_membership_last_owner';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER accounts_membership_last_owner
    AFTER UPDATE OR DELETE ON accounts_membership DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.role = 'owner') EXECUTE FUNCTION accounts_require_owner();
"""
BACKWARD = """
DROP TRIGGER accounts_membership_last_owner ON accounts_membership;
DROP FUNCTION accounts_require_owner();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_notify_accounts_changed")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
