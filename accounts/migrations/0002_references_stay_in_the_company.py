"""Foreign keys that carry the company, so that no row can refer to another company's kit or user."""

from django.db import migrations

# Not deferrable: the statement that breaks one fails, inside the function that can say why.
FORWARD = """
ALTER TABLE accounts_tenantuser
    ADD CONSTRAINT accounts_tenantuser_account_kit FOREIGN KEY (company_id, account_kit_id)
        REFERENCES accounts_accountkit (company_id, id);
ALTER TABLE accounts_apikey
    ADD CONSTRAINT accounts_apikey_account_kit FOREIGN KEY (company_id, account_kit_id)
        REFERENCES accounts_accountkit (company_id, id),
    ADD CONSTRAINT accounts_apikey_active_tenant_user FOREIGN KEY (company_id, active_tenant_user_id)
        REFERENCES accounts_tenantuser (company_id, id);
"""
BACKWARD = """
ALTER TABLE accounts_apikey
    DROP CONSTRAINT accounts_apikey_active_tenant_user,
    DROP CONSTRAINT accounts_apikey_account_kit;
ALTER TABLE accounts_tenantuser DROP CONSTRAINT accounts_tenantuser_account_kit;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
