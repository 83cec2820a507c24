from django.db import migrations

# What all companies did in a day or an hour, without their history: its key begins with the company. Rows come in the
# order of time here too.
CREATE = """
create index billing_usage_hour on billing_usage using brin (hour)
    with (pages_per_range = 32, autosummarize = on)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0006_settlement_created_at"),
    ]

    operations = [
        migrations.RunSQL(CREATE, "drop index billing_usage_hour"),
    ]
