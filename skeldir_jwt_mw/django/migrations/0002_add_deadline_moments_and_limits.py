"""Adds the moments of deadlines and the limits of columns, by the SQL file of the same name."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import migrations, models

from skeldir_jwt_mw.django.schema import RunFile

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Migration(migrations.Migration):
    """The columns, and the model that reads them."""

    dependencies = (("skeldir_jwt_mw", "0001_create_jwt_verification_cache"),)
    operations = (
        RunFile(
            "0002_add_deadline_moments_and_limits.sql",
            reversal="0002_drop_deadline_moments_and_limits.sql",
            hints={"model_name": "cachedkeyset"},
            state_operations=[
                migrations.AddField(
                    "CachedKeySet", "floor_set_at", models.DateTimeField(default=EPOCH), False
                ),
                migrations.AddField(
                    "CachedKeySet", "backoff_set_at", models.DateTimeField(default=EPOCH), False
                ),
            ],
        ),
    )
