"""What companies could still spend at the end of each day."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0009_usage_days"),
    ]

    operations = [
        migrations.AddField("day", "unspent_nanocredits", models.DecimalField(null=True)),
    ]
