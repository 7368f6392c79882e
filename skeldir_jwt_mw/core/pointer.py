"""Names of claims: a plain member name, or a JSON Pointer where it starts with "/" (RFC 6901)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final


class Missing(Enum):
    """The type of `MISSING`, which stands for a claim that is not there; None is JSON's null."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING

_ARRAY_INDEX = re.compile(
    r"(?:0|[1-9][0-9]{0,8})\Z"
)  # RFC 6901 §4: no leading zeros; "-" names no existing member


def parse_pointer(pointer: str) -> tuple[str, ...]:
    """The reference tokens of a JSON Pointer that starts with "/"; raises ValueError (RFC 6901 §3)."""
    if not pointer.startswith("/"):
        raise ValueError('a JSON Pointer starts with "/"')
    if re.search(r"~(?![01])", pointer):
        raise ValueError('"~" in a JSON Pointer is written ~0, and "/" inside a name ~1')
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/"))


def first_member(name: str) -> str:
    """The top-level member that a claim's name leads through."""
    return parse_pointer(name)[0] if name.startswith("/") else name


def compile_lookup(name: str) -> Callable[[Mapping[str, Any]], Any]:
    """A function from claims to the value under `name`, or to `MISSING`; ValueError for a bad pointer."""
    if not name.startswith("/"):

        def member(claims: Mapping[str, Any]) -> Any:
            return claims.get(name, MISSING)

        return member

    tokens = parse_pointer(name)

    def resolve(claims: Mapping[str, Any]) -> Any:
        value = claims.get(tokens[0], MISSING)
        for token in tokens[1:]:
            if isinstance(value, dict):
                value = value.get(token, MISSING)
            elif isinstance(value, list):
                if _ARRAY_INDEX.match(token) is None or int(token) >= len(value):
                    return MISSING
                value = value[int(token)]
            else:
                return MISSING
        return value

    return resolve
