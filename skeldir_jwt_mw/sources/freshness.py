"""What response headers say about time and versions, with every hostile value bounded."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

MAX_VALIDATOR_LENGTH = 1024
MAX_AGE_LIMIT = 31_536_000  # seconds, a year; whoever says more means "long"
MAX_RETRY_AFTER = 3600.0  # seconds

_PRINTABLE = re.compile(rf"[\x20-\x7e]{{1,{MAX_VALIDATOR_LENGTH}}}\Z")
_MAX_AGE = re.compile(r'max-age="?([0-9]+)"?\Z')
_SECONDS = re.compile(r"[0-9]{1,20}\Z")
_MAX_DATE_LENGTH = 64


def validator(value: str | None) -> str | None:
    """An ETag or a Last-Modified that is safe to keep and to send back; None drops it (RFC 9110 §8.8)."""
    return value if value is not None and _PRINTABLE.match(value) else None


def max_age(headers: Mapping[str, str]) -> float | None:
    """Seconds for which the response is fresh: `max-age` less `Age`, at least 0 (RFC 9111 §4.2, §5.1)."""
    ages = [
        min(int(found[1][:20]), MAX_AGE_LIMIT)
        for directive in headers.get("cache-control", "").lower().split(",")
        if (found := _MAX_AGE.match(directive.strip()))
    ]
    if not ages:
        return None
    age = headers.get("age", "").strip()
    spent = min(int(age), MAX_AGE_LIMIT) if _SECONDS.match(age) else 0
    return float(max(0, min(ages) - spent))  # said twice, the shorter one counts


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait, 0 to 3600, from either form of `Retry-After` (RFC 9110 §10.2.3), or None.

    A date is measured against the response's own `Date`, so that two clocks are not compared; against `now`
    (seconds since the epoch, default: this machine's) only where there is none.
    """
    value = headers.get("retry-after", "").strip()
    if _SECONDS.match(value):
        return min(float(value), MAX_RETRY_AFTER)
    until = _http_date(value)
    if until is None:
        return None
    since = _http_date(headers.get("date", "").strip())
    if since is None:
        since = time.time() if now is None else now
    return min(max(0.0, until - since), MAX_RETRY_AFTER)


def _http_date(value: str) -> float | None:
    if not value or len(value) > _MAX_DATE_LENGTH:
        return None
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
