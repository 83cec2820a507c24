from decimal import Decimal

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_company_keeps_an_owner"),
    ]

    operations = [
        migrations.CreateModel(
            name="IdempotentAnswer",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "company_id",
                        "key_sha256",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("key_sha256", models.BinaryField(max_length=32)),
                ("fingerprint", models.BinaryField(max_length=32)),
                ("status", models.SmallIntegerField()),
                ("answer", models.BinaryField(null=True)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "db_table": "accounts_idempotent_answer",
            },
        ),
        migrations.AddField(
            model_name="company",
            name="low_credits",
            field=models.DecimalField(
                db_default=Decimal("5"), decimal_places=9, default=Decimal("5"), max_digits=19
            ),
        ),
        migrations.AddConstraint(
            model_name="company",
            constraint=models.CheckConstraint(
                condition=models.Q(("low_credits__gte", 0), ("low_credits__lte", Decimal("1000000000"))),
                name="accounts_company_low_credits",
                violation_error_message="The threshold must be from 0 to 1000000000 credits.",
            ),
        ),
        migrations.AddIndex(
            model_name="idempotentanswer",
            index=models.Index(fields=["created_at"], name="accounts_idempotent_created"),
        ),
    ]
