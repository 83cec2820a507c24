from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0004_topups_and_credit_events"),
    ]

    operations = [
        migrations.AddField("checkout", "ask_at", models.DateTimeField(null=True)),
        migrations.AddIndex(
            "checkout",
            models.Index(
                condition=models.Q(("status", "open")), fields=["ask_at"], name="billing_checkout_ask"
            ),
        ),
    ]
