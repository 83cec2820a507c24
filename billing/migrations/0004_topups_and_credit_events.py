import django.db.models.deletion
from django.db import migrations, models

import accounts.ids


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0003_days_and_alerts"),
    ]

    operations = [
        migrations.CreateModel(
            name="CreditLevel",
            fields=[
                ("company_id", models.UUIDField(primary_key=True, serialize=False)),
                (
                    "level",
                    models.CharField(
                        choices=[("fine", "Fine"), ("low", "Low"), ("exhausted", "Exhausted")], max_length=16
                    ),
                ),
                ("since", models.DateTimeField()),
            ],
            options={
                "db_table": "billing_credit_level",
            },
        ),
        migrations.CreateModel(
            name="FakeCheckout",
            fields=[
                ("session_id", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("payment_id", models.CharField(max_length=255, unique=True)),
                ("dispute_id", models.CharField(blank=True, max_length=255)),
                ("order", models.JSONField()),
                ("status", models.CharField(default="open", max_length=16)),
                ("refunded_cents", models.BigIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "db_table": "billing_fake_checkout",
            },
        ),
        migrations.CreateModel(
            name="Checkout",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("pack_id", models.CharField(max_length=32)),
                ("credits_nanocredits", models.BigIntegerField()),
                ("amount_cents", models.BigIntegerField()),
                ("currency", models.CharField(default="usd", max_length=3)),
                ("provider", models.CharField(max_length=16)),
                ("session_id", models.CharField(max_length=255, null=True)),
                ("payment_id", models.CharField(max_length=255, null=True)),
                ("url", models.TextField(blank=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("paid", "Paid"),
                            ("unpaid", "Unpaid"),
                            ("mismatched", "Mismatched"),
                        ],
                        default="open",
                        max_length=16,
                    ),
                ),
                ("actor", models.CharField(max_length=255)),
                ("refunded_cents", models.BigIntegerField(default=0)),
                ("returned_nanocredits", models.BigIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(null=True)),
                ("paid_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "billing_checkout",
                "indexes": [models.Index(fields=["company_id", "id"], name="billing_checkout_company")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("provider", "session_id"), name="billing_checkout_session"
                    ),
                    models.UniqueConstraint(
                        fields=("provider", "payment_id"), name="billing_checkout_payment"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("amount_cents__gt", 0), ("credits_nanocredits__gt", 0)),
                        name="billing_checkout_worth",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("returned_nanocredits__gte", 0),
                            ("returned_nanocredits__lte", models.F("credits_nanocredits")),
                        ),
                        name="billing_checkout_returned",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CreditEvent",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("company_id", models.UUIDField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("credits.low", "Low"),
                            ("credits.exhausted", "Exhausted"),
                            ("credits.topped_up", "Topped Up"),
                        ],
                        max_length=32,
                    ),
                ),
                ("payload", models.JSONField()),
                ("created_at", models.DateTimeField()),
                ("mailed_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "billing_credit_event",
                "indexes": [
                    models.Index(fields=["company_id", "id"], name="billing_credit_event_company"),
                    models.Index(
                        condition=models.Q(("mailed_at", None)),
                        fields=["id"],
                        name="billing_credit_event_unmailed",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="FakeEvent",
            fields=[
                ("event_id", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("type", models.CharField(max_length=64)),
                ("body", models.TextField()),
                ("deliveries", models.IntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                (
                    "checkout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="billing.fakecheckout",
                    ),
                ),
            ],
            options={
                "db_table": "billing_fake_event",
            },
        ),
        migrations.CreateModel(
            name="PaymentEvent",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "provider", "event_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("provider", models.CharField(max_length=16)),
                ("event_id", models.CharField(max_length=255)),
                ("kind", models.CharField(max_length=32)),
                ("news", models.JSONField()),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("applied", "Applied"),
                            ("stale", "Stale"),
                            ("waiting", "Waiting"),
                            ("not_ours", "Not Ours"),
                            ("refused", "Refused"),
                        ],
                        max_length=16,
                    ),
                ),
                ("payment_id", models.CharField(blank=True, max_length=255)),
                ("checkout_id", models.UUIDField(null=True)),
                ("received_at", models.DateTimeField()),
            ],
            options={
                "db_table": "billing_payment_event",
                "indexes": [
                    models.Index(
                        condition=models.Q(("outcome", "waiting")),
                        fields=["provider", "payment_id"],
                        name="billing_payment_event_waiting",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Dispute",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "provider",
                        "dispute_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("provider", models.CharField(max_length=16)),
                ("dispute_id", models.CharField(max_length=255)),
                ("company_id", models.UUIDField()),
                (
                    "status",
                    models.CharField(
                        choices=[("open", "Open"), ("won", "Won"), ("lost", "Lost")], max_length=8
                    ),
                ),
                ("amount_cents", models.BigIntegerField()),
                ("froze_wallet", models.BooleanField()),
                ("opened_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "checkout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="disputes",
                        to="billing.checkout",
                    ),
                ),
            ],
            options={
                "db_table": "billing_dispute",
                "indexes": [models.Index(fields=["company_id"], name="billing_dispute_company")],
            },
        ),
    ]
