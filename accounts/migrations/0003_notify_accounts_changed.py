"""Tell every gateway process, at commit, whose keys, kits or users are no longer what it may have cached."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION accounts_notify_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before jsonb := to_jsonb(OLD) - 'last_used_at' - 'last_active_at';
    after jsonb := to_jsonb(NEW) - 'last_used_at' - 'last_active_at';
BEGIN
    -- A note of activity changes nothing that anybody caches, and is written twice a minute.
    IF TG_OP = 'UPDATE' AND before = after THEN
        RETURN NULL;
    END IF;
    PERFORM pg_notify('accounts_changed', coalesce(after, before) ->> TG_ARGV[0]);
    RETURN NULL;
END $$;

CREATE TRIGGER accounts_company_changed AFTER INSERT OR UPDATE OR DELETE ON accounts_company
    FOR EACH ROW EXECUTE FUNCTION accounts_notify_changed('id');
CREATE TRIGGER accounts_accountkit_changed AFTER INSERT OR UPDATE OR DELETE ON accounts_accountkit
    FOR EACH ROW EXECUTE FUNCTION accounts_notify_changed('company_id');
CREATE TRIGGER accounts_tenantuser_changed AFTER INSERT OR UPDATE OR DELETE ON accounts_tenantuser
    FOR EACH ROW EXECUTE FUNCTION accounts_notify_changed('company_id');
CREATE TRIGGER accounts_apikey_changed AFTER INSERT OR UPDATE OR DELETE ON accounts_apikey
    FOR EACH ROW EXECUTE FUNCTION accounts_notify_changed('company_id');

-- The keys of a person who is deactivated open nothing, in whichever companies they were made.
CREATE FUNCTION accounts_notify_person_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('accounts_changed', made.company_id::text)
    FROM (SELECT DISTINCT company_id FROM accounts_apikey WHERE created_by_id = NEW.id) made;
    RETURN NULL;
END $$;

CREATE TRIGGER accounts_user_changed AFTER UPDATE ON accounts_user
    FOR EACH ROW WHEN (OLD.is_active <> NEW.is_active) EXECUTE FUNCTION accounts_notify_person_changed();
"""
BACKWARD = """
DROP TRIGGER accounts_user_changed ON accounts_user;
DROP FUNCTION accounts_notify_person_changed();
DROP TRIGGER accounts_apikey_changed ON accounts_apikey;
DROP TRIGGER accounts_tenantuser_changed ON accounts_tenantuser;
DROP TRIGGER accounts_accountkit_changed ON accounts_accountkit;
DROP TRIGGER accounts_company_changed ON accounts_company;
DROP FUNCTION accounts_notify_changed();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_references_stay_in_the_company")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
