"""Prompts and answers of calls whose kit stores them, encrypted, apart from the books."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("llm", "0003_generation_held"), ("accounts", "0012_kit_prompt_retention")]

    operations = [
        migrations.CreateModel(
            name="StoredPrompt",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "company_id",
                        "hold_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("company_id", models.UUIDField()),
                ("hold_id", models.UUIDField()),
                ("kit_id", models.UUIDField()),
                ("request", models.BinaryField()),
                ("answer", models.BinaryField(null=True)),
                ("is_request_cut", models.BooleanField()),
                ("is_answer_cut", models.BooleanField()),
                ("called_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "db_table": "llm_stored_prompt",
                "indexes": [
                    models.Index(fields=["expires_at"], name="llm_stored_prompt_expires"),
                    models.Index(
                        fields=["company_id", "kit_id", "called_at"], name="llm_stored_prompt_of_kit"
                    ),
                ],
            },
        ),
        # What is encrypted cannot be compressed: PostgreSQL need not try.
        migrations.RunSQL(
            "ALTER TABLE llm_stored_prompt ALTER request SET STORAGE EXTERNAL, ALTER answer SET STORAGE EXTERNAL",
            migrations.RunSQL.noop,
        ),
    ]
