from django.db import migrations

# Rows come in the order of time: a few bytes for each hundred pages find a minute's, and writing costs next to nothing.
CREATE = """
create index billing_settlement_created_at on billing_settlement using brin (created_at)
    with (pages_per_range = 32, autosummarize = on)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0005_checkout_ask_at"),
    ]

    operations = [
        migrations.RunSQL(CREATE, "drop index billing_settlement_created_at"),
    ]
