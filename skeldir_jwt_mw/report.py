"""What an operator's command prints, and the exit code that it ends with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .core.effects import StoreContended, StoreUnavailable
from .errors import ConfigurationError, JWTError, KeysUnavailable

REFUSED, MISCONFIGURED, UNAVAILABLE = 1, 2, 3
EXPECTED = (JWTError, StoreContended, StoreUnavailable)  # what a command may raise


def printed(value: Mapping[str, Any], *, as_json: bool) -> str:
    """The value as JSON for machines, or as indented lines for people."""
    return json.dumps(value, indent=2, default=str) if as_json else "\n".join(_lines(value))


def _lines(value: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for name, member in value.items():
        match member:
            case Mapping():
                yield f"{indent}{name}"
                yield from _lines(member, indent + "  ")
            case float():
                yield f"{indent}{name}: {member:.1f}"
            case list():
                yield f"{indent}{name}: {', '.join(map(str, member)) or '-'}"
            case _:
                yield f"{indent}{name}: {'-' if member is None else member}"


def exit_of(error: Exception) -> tuple[int, str]:
    """The exit code that one of the expected errors leads to, and what there is to say."""
    match error:
        case ConfigurationError():
            return MISCONFIGURED, str(error)
        case KeysUnavailable():
            return UNAVAILABLE, f"{error}; try again in {error.retry_after:.0f} s"
        case JWTError():
            return REFUSED, f"{error.code}: {error}"
        case _:  # of `migrate`, which asks the database itself
            return UNAVAILABLE, str(error)
