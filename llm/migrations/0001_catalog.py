from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="CatalogSnapshot",
            fields=[
                (
                    "id",
                    models.SmallIntegerField(default=1, editable=False, primary_key=True, serialize=False),
                ),
                ("body", models.BinaryField()),
                ("sha256", models.BinaryField(max_length=32)),
                ("model_count", models.IntegerField()),
                ("fetched_at", models.DateTimeField()),
            ],
            options={
                "db_table": "llm_catalog_snapshot",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(id=1), name="llm_catalog_snapshot_is_one_row")
                ],
            },
        ),
    ]
