"""Times between a row's moments, as words for a page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NEVER = "-"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def span(earlier: datetime | None, later: datetime | None) -> str:
    """The time between the two, in whole seconds; nothing where one is unknown or never was."""
    if earlier is None or later is None or EPOCH in (earlier, later):
        return NEVER
    return str(timedelta(seconds=round((later - earlier).total_seconds())))


def left(now: datetime, until: datetime | None) -> str:
    """The time left; empty where there is none."""
    return span(now, until) if until is not None and until > now else ""
