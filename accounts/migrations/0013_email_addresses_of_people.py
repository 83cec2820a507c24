"""People who were there before migration 0011 get their row with django-allauth too."""

from django.db import migrations

FORWARD = """
INSERT INTO account_emailaddress (user_id, email, verified, "primary")
SELECT id, lower(email), email_verified_at IS NOT NULL, true FROM accounts_user
ON CONFLICT (user_id, email) DO NOTHING;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0012_kit_prompt_retention")]
    operations = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]
