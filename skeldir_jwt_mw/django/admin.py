"""The shared rows in the admin: to look at, and to ask for newer keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Case, F, QuerySet, When
from django.db.models.functions import Now
from django.http import HttpRequest

from skeldir_jwt_mw.core.keys import KeySet, UnusableDocument, import_jwks
from skeldir_jwt_mw.core.signature import SUPPORTED_ALGORITHMS
from skeldir_jwt_mw.printable import printable
from skeldir_jwt_mw.report import EXPECTED, exit_of

from . import conf
from .durations import EPOCH, NEVER, left, span
from .models import CachedKeySet
from .schema import has_cache

if TYPE_CHECKING:
    Admin = admin.ModelAdmin[CachedKeySet]
else:
    Admin = admin.ModelAdmin

# The times of a row as far as they can be: no driver reads an infinite one, which anybody may have written.
SANE = (EPOCH, datetime(2200, 1, 1, tzinfo=UTC))
TIMES = {
    "fetched": "fetched_at",
    "due": "next_refresh_at",
    "ends": "expires_at",
    "leased": "lease_until",
    "floored": "floor_until",
    "backed_off": "backoff_until",
}
UNREAD = ("seal", "claimed_at", "floor_set_at", "backoff_set_at")
WAITS = ("lease", "floor", "backoff")
KEYS = ("kids", "left_out", "generation", "age", "expires")
REFRESHES = ("next_refresh", "reason", "last_failure", "consecutive_failures", *WAITS)
EVIDENCE = ("fetch_attempt_count", "refresh_event_count", "failure_event_count", "abandoned_count")


def _of_keys(row: Any, texts: Callable[[KeySet], Iterable[str]]) -> str:
    """What there is to say of the keys in a row."""
    if row.payload is None:
        return NEVER
    try:
        keys = import_jwks(bytes(row.payload)).for_algorithms(SUPPORTED_ALGORITHMS)
    except UnusableDocument:
        return "(not to be read)"
    return ", ".join(map(printable, texts(keys))) or NEVER


@admin.register(CachedKeySet)
class CachedKeySetAdmin(Admin):
    """Read-only, with one action. Of the keys it shows their ids; the seal stays in the database.

    Whoever may change cached key sets may ask for newer keys, and may change nothing by hand.
    """

    list_display = ("issuer", "kids", "generation", "age", "next_refresh", "expires", "lease", "last_failure")
    ordering = ("source_key",)
    actions = ("refresh_now",)
    fieldsets = (
        (None, {"fields": ("issuer", "key")}),
        ("Keys", {"fields": KEYS}),
        ("Refreshes", {"fields": REFRESHES}),
        ("Evidence", {"fields": EVIDENCE}),
    )
    readonly_fields = ("issuer", "key", *KEYS, *REFRESHES)

    # -- who may --------------------------------------------------------------------------------------

    def has_view_permission(self, request: HttpRequest, obj: CachedKeySet | None = None) -> bool:
        """Not where there is no such table."""
        return has_cache() and super().has_view_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: CachedKeySet | None = None) -> bool:
        """For the action alone: no row is changed by hand."""
        return obj is None and has_cache() and super().has_change_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002  # Django passes it by name
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: CachedKeySet | None = None) -> bool:  # noqa: ARG002
        """Nobody."""
        return False

    # -- what is shown --------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[CachedKeySet]:
        """The rows without their seals, and with times that can be read and the database's own."""
        times = {name: Case(When(**{f"{of}__range": SANE}, then=F(of))) for name, of in TIMES.items()}
        rows = super().get_queryset(request)
        return rows.defer(*UNREAD, *TIMES.values()).annotate(now=Now(), **times)

    @admin.display(description="issuer")
    def issuer(self, row: Any) -> str:
        """The configured issuer whose row it is."""
        return printable(conf.issuers_by_row().get(row.source_key, "(none of this project's)"))

    @admin.display(description="source key")
    def key(self, row: Any) -> str:
        """What the row is found by."""
        return printable(row.source_key)

    @admin.display(description="key ids")
    def kids(self, row: Any) -> str:
        """The ids of the keys that tokens may be verified with."""
        return _of_keys(row, lambda keys: keys.kids)

    @admin.display(description="keys left out")
    def left_out(self, row: Any) -> str:
        """The ids of those that no token is verified with, and why."""
        return _of_keys(row, lambda keys: [f"{key.kid or NEVER} ({key.reason})" for key in keys.rejected])

    @admin.display(description="last error")
    def last_failure(self, row: Any) -> str:
        """Why the last fetch failed."""
        return printable(row.last_error or NEVER)

    @admin.display(description="last refresh reason")
    def reason(self, row: Any) -> str:
        """Why the last fetch was made."""
        return printable(row.last_refresh_reason or NEVER)

    @admin.display(description="age")
    def age(self, row: Any) -> str:
        """Since the keys were fetched."""
        return span(row.fetched, row.now)

    @admin.display(description="next refresh in")
    def next_refresh(self, row: Any) -> str:
        """Until the next scheduled fetch."""
        return left(row.now, row.due) or "due"

    @admin.display(description="expires in")
    def expires(self, row: Any) -> str:
        """Until the keys may not be used any more."""
        return left(row.now, row.ends) or "expired"

    @admin.display(description="fetch under way")
    def lease(self, row: Any) -> str:
        """Whether somebody fetches right now."""
        if row.lease_owner is None:
            return NEVER
        until = left(row.now, row.leased)
        return f"for another {until} at most" if until else "abandoned"

    @admin.display(description="no forced fetch for")
    def floor(self, row: Any) -> str:
        """Until an unknown key id may have keys fetched again."""
        return left(row.now, row.floored) or NEVER

    @admin.display(description="no fetch at all for")
    def backoff(self, row: Any) -> str:
        """Until the fleet tries again after failures."""
        return left(row.now, row.backed_off) or NEVER

    # -- what can be done -----------------------------------------------------------------------------

    @admin.action(description="Refresh the keys of every configured issuer now", permissions=["change"])
    def refresh_now(self, request: HttpRequest, rows: QuerySet[CachedKeySet]) -> None:
        """One fetch for the whole fleet, which obeys its floor and backoff."""
        for row in rows:
            self.log_change(request, row, "Asked for newer keys.")
        try:
            verifier = conf.verifier()
            verifier.refresh()
        except ImproperlyConfigured as error:
            self.message_user(request, f"No newer keys: {printable(error)}", messages.ERROR)
        except EXPECTED as error:
            self.message_user(request, f"No newer keys: {exit_of(error)[1]}", messages.ERROR)
        else:
            issuers = ", ".join(map(printable, verifier.status()))
            self.message_user(request, f"Newer keys are in use: {issuers}", messages.SUCCESS)
