"""Makes the shared table, by the SQL file of the same name."""

from __future__ import annotations

from django.db import migrations, models

from skeldir_jwt_mw.django.schema import RunFile


class Migration(migrations.Migration):
    """The table, and the model that reads it."""

    initial = True
    operations = (
        RunFile(
            "0001_create_jwt_verification_cache.sql",
            reversal="0001_drop_jwt_verification_cache.sql",
            hints={"model_name": "cachedkeyset"},
            state_operations=[
                migrations.CreateModel(
                    name="CachedKeySet",
                    fields=[
                        ("source_key", models.TextField(primary_key=True, serialize=False)),
                        ("payload", models.BinaryField(null=True)),
                        ("seal", models.BinaryField(null=True)),
                        ("etag", models.TextField(null=True)),
                        ("last_modified", models.TextField(null=True)),
                        ("generation", models.BigIntegerField()),
                        ("fetched_at", models.DateTimeField()),
                        ("next_refresh_at", models.DateTimeField()),
                        ("expires_at", models.DateTimeField()),
                        ("fence", models.BigIntegerField()),
                        ("lease_owner", models.UUIDField(null=True)),
                        ("claimed_at", models.DateTimeField()),
                        ("lease_until", models.DateTimeField()),
                        ("floor_until", models.DateTimeField()),
                        ("backoff_until", models.DateTimeField()),
                        ("consecutive_failures", models.IntegerField()),
                        ("last_error", models.TextField(null=True)),
                        ("last_refresh_reason", models.TextField(null=True)),
                        ("fetch_attempt_count", models.BigIntegerField()),
                        ("refresh_event_count", models.BigIntegerField()),
                        ("failure_event_count", models.BigIntegerField()),
                        ("abandoned_count", models.BigIntegerField()),
                    ],
                    options={
                        "verbose_name": "cached key set",
                        "db_table": '"public"."jwt_verification_cache"',
                        "managed": False,
                        "base_manager_name": "objects",
                        "default_permissions": ("view", "change"),
                        "required_db_vendor": "postgresql",
                    },
                ),
            ],
        ),
    )
