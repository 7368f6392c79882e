"""What an operator's command prints, and the exit code that it ends with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .core.effects import StoreContended, StoreUnavailable
from .errors import ConfigurationError, InvalidToken, JWTError, KeysUnavailable
from .picture import KeysAway
from .printable import printable

REFUSED, MISCONFIGURED, UNAVAILABLE = 1, 2, 3
EXPECTED = (JWTError, StoreContended, StoreUnavailable)  # what a command may raise


def printed(value: Mapping[str, Any], *, as_json: bool) -> str:
    """The value as JSON for machines, or as indented lines for people; either way all of it is printable."""
    return json.dumps(value, indent=2, default=str) if as_json else "\n".join(_lines(value))


def _lines(value: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for name, member in value.items():
        heading = indent + printable(name)
        match member:
            case Mapping():
                yield heading
                yield from _lines(member, indent + "  ")
            case float():
                yield f"{heading}: {member:.1f}"
            case list() | tuple():
                yield f"{heading}: {', '.join(map(_word, member)) or '-'}"
            case _:
                yield f"{heading}: {_word(member)}"


def _word(member: object) -> str:
    if isinstance(member, (Mapping, list)):
        return json.dumps(member, default=str)
    return "-" if member is None else printable(member)


def exit_of(error: Exception) -> tuple[int, str]:
    """The exit code that one of the expected errors leads to, and what there is to say, on one line."""
    code, text = _exit_of(error)
    return code, printable(text)


def _exit_of(error: Exception) -> tuple[int, str]:
    match error:
        case ConfigurationError():
            return MISCONFIGURED, str(error)
        case KeysAway():
            return UNAVAILABLE, f"no keys without a fetch, and this only reads: {error}"
        case KeysUnavailable():
            return UNAVAILABLE, f"{error}; try again in {error.retry_after:.0f} s"
        case InvalidToken(hint=str(hint)):
            return REFUSED, f"{error.code}: {error} ({hint})"
        case JWTError():
            return REFUSED, f"{error.code}: {error}"
        case _:  # of `migrate`, which asks the database itself
            return UNAVAILABLE, str(error)
