"""The shared table as Django sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from django.db import models

from skeldir_jwt_mw.printable import printable

from .schema import cache_alias, holds_cache

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    Text = models.TextField[str, str]
    OptionalText = models.TextField[str | None, str | None]
    Binary = models.BinaryField[bytes | None, bytes | None]
    OptionalUUID = models.UUIDField[UUID | None, UUID | None]
    Number = models.BigIntegerField[int, int]
    SmallNumber = models.IntegerField[int, int]
    Time = models.DateTimeField[datetime, datetime]

READ_ONLY = "only refreshes write the shared keys; `manage.py skeldir_jwt_refresh` asks for one"


class CachedKeySets(models.Manager["CachedKeySet"]):
    """The rows, from the database that holds them; every other one has none, and need not have the table."""

    def get_queryset(self) -> models.QuerySet[CachedKeySet]:
        """All rows."""
        return self.using(self._db or cache_alias())

    def using(self, alias: str | None) -> models.QuerySet[CachedKeySet]:
        """All rows in one database, as `dumpdata` asks each."""
        rows = super().get_queryset()
        return rows.using(alias) if holds_cache(alias) else rows.none()


class CachedKeySet(models.Model):
    """The shared row of one source of signing keys, read-only.

    The table is made by the SQL files that the migrations run, so Django does not manage it. What is in a
    row is not to be trusted before its seal was checked, which a verifier does.
    """

    objects = CachedKeySets()

    source_key: Text = models.TextField(primary_key=True)

    payload: Binary = models.BinaryField(null=True)
    seal: Binary = models.BinaryField(null=True)
    etag: OptionalText = models.TextField(null=True)
    last_modified: OptionalText = models.TextField(null=True)
    generation: Number = models.BigIntegerField()

    fetched_at: Time = models.DateTimeField()
    next_refresh_at: Time = models.DateTimeField()
    expires_at: Time = models.DateTimeField()

    fence: Number = models.BigIntegerField()
    lease_owner: OptionalUUID = models.UUIDField(null=True)
    claimed_at: Time = models.DateTimeField()
    lease_until: Time = models.DateTimeField()

    floor_until: Time = models.DateTimeField()
    backoff_until: Time = models.DateTimeField()
    consecutive_failures: SmallNumber = models.IntegerField()
    last_error: OptionalText = models.TextField(null=True)
    last_refresh_reason: OptionalText = models.TextField(null=True)

    fetch_attempt_count: Number = models.BigIntegerField()
    refresh_event_count: Number = models.BigIntegerField()
    failure_event_count: Number = models.BigIntegerField()
    abandoned_count: Number = models.BigIntegerField()

    floor_set_at: Time = models.DateTimeField()
    backoff_set_at: Time = models.DateTimeField()

    class Meta:
        managed = False
        base_manager_name = "objects"
        db_table = '"public"."jwt_verification_cache"'  # wherever a project's search_path leads
        default_permissions = ("view", "change")
        verbose_name = "cached key set"
        required_db_vendor = "postgresql"

    def __str__(self) -> str:
        return printable(self.source_key)

    def save(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Raise `TypeError`: only refreshes write."""
        raise TypeError(READ_ONLY)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Raise `TypeError`: only refreshes write."""
        raise TypeError(READ_ONLY)
