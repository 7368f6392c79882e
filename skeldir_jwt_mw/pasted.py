"""A token as an operator pastes it, and what can be read of it without believing any of it."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import Counter
from typing import Any

from .verifier import HARD_MAX_TOKEN_BYTES

# What stands before a token in a header, a shell line or a quotation of either.
_BEFORE = re.compile(r"""[\s'"]*(?:authorization\s*:\s*)?(?:(?:bearer|jwt)\s+)?""", re.IGNORECASE)
_BEHIND = " \t\r\n'\""

MAX_SHOWN_DEPTH = 100  # levels of what is shown of a token


def token_in(pasted: str) -> str:
    """The token without the header's name, the scheme, quotes and white space that were copied with it."""
    return pasted[_BEFORE.match(pasted).end() :].rstrip(_BEHIND)  # type: ignore[union-attr]  # it may be empty


def contents_of(raw: str) -> dict[str, Any]:
    """`header` and `claims` of a token, each where it decodes, whatever is wrong with the token.

    What nests more than 100 levels deep does not count as decoding.
    A member that stands twice is shown twice. Nothing of this is verified.
    """
    if len(raw) > HARD_MAX_TOKEN_BYTES:
        return {}
    parts = dict(zip(("header", "claims"), raw.split("."), strict=False))
    return {name: found for name, part in parts.items() if (found := _object(part)) is not None}


def _object(part: str) -> dict[str, Any] | None:
    try:
        octets = base64.urlsafe_b64decode(part.rstrip("=") + "=" * (-len(part.rstrip("=")) % 4))
        found = json.loads(octets, object_pairs_hook=_members, parse_constant=str, parse_float=_number)
    except (binascii.Error, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and not _nests_too_deeply(found) else None


def _nests_too_deeply(found: dict[str, Any]) -> bool:
    """Whether what reads it further may come to the end of its stack; Pythons differ in where that is."""
    level: list[Any] = [found]
    for _ in range(MAX_SHOWN_DEPTH):
        members = (one.values() if isinstance(one, dict) else one for one in level)
        level = [member for some in members for member in some if isinstance(member, (dict, list))]
    return bool(level)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    times: Counter[str] = Counter()
    for name, value in pairs:
        shown = name
        while shown in members:  # counted, for a hostile token may hold one name thousands of times
            times[name] += 1
            shown = f"{name} (again)" if times[name] == 1 else f"{name} (again, {times[name]})"
        members[shown] = value
    return members


def _number(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text
