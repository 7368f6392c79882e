"""Strict JSON objects: what an issuer and this library could ever read differently is refused (R05, R06).

There is one language and two readers of it. `parse_with_stdlib` defines what is accepted. `parse_object` is
a shortcut where orjson is installed: a document that orjson reads and writes back byte for byte has no
duplicate member, no oversized number, no lone surrogate, nothing that two parsers could disagree on. What
does not come back as it was (white space, escapes, odd number formats) is left to the definition.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, NoReturn

MAX_DEPTH = 16  # nested objects and arrays, the outermost one included
MAX_MEMBERS = 1024  # in one object
MAX_CONTAINERS = 2560  # objects and arrays, and brackets in strings; a scan that is cheaper than any reader
MAX_DIGITS = 40  # of one number

# What is read without knowing who wrote it: reading it must not cost more than checking a signature does.
BRIEF_BYTES = 4096
BRIEF_PARTS = 64  # commas and opening brackets, those in strings too
BYTES_PER_PART = 32  # beyond, as long as orjson alone can read it

# The least that MAX_MEMBERS + 1 members can take up: five bytes each, `"":0,`.
_SMALLEST_OVERFULL = 5 * (MAX_MEMBERS + 1)

# As numbers, for `number in bytes` is a memchr, and a tenth of what count() or a one-byte search costs.
_BACKSLASH, _BRACE, _BRACKET = b"\\{["


class MalformedJSON(ValueError):
    """The bytes are not a JSON object in the strict sense; the text is fixed and holds nothing of them.

    `hint` names the limit that they exceed, where it is one.
    """

    def __init__(self, hint: str | None = None) -> None:
        super().__init__("not a strict JSON object")
        self.hint = hint


_MEMBERS = f"an object has more than {MAX_MEMBERS} members"
_DEPTH = f"objects and arrays are nested more than {MAX_DEPTH} levels deep"
_CONTAINERS = f"there are more than {MAX_CONTAINERS} objects and arrays"
_DIGITS = f"a number has more than {MAX_DIGITS} digits"


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(pairs) > MAX_MEMBERS:
        raise MalformedJSON(_MEMBERS)
    if len(members) != len(pairs):
        raise MalformedJSON("an object has a member twice")
    return members


def _integer(literal: str) -> int:
    if len(literal) <= MAX_DIGITS or len(literal.lstrip("-")) <= MAX_DIGITS:
        return int(literal)
    raise MalformedJSON(_DIGITS)


def _real(literal: str) -> float:
    if len(literal) > MAX_DIGITS and len(literal.encode().translate(None, b".eE+-")) > MAX_DIGITS:
        raise MalformedJSON(_DIGITS)
    number = float(literal)
    if not math.isfinite(number):
        raise MalformedJSON
    return number


def _constant(_: str) -> NoReturn:  # NaN, Infinity and -Infinity, which RFC 8259 §6 does not know
    raise MalformedJSON


# Prebuilt: json.loads() with hooks builds a decoder, and its scanner, on every call.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=_real, parse_constant=_constant
)


def _containers(data: bytes) -> int:
    """An upper bound of the objects and arrays, counting brackets in strings too; raises `MalformedJSON`."""
    count = data.count(b"{") + data.count(b"[")
    if count > MAX_CONTAINERS:
        raise MalformedJSON(_CONTAINERS)
    return count


def _refuse_excess(value: dict[str, Any]) -> None:
    """Raise `MalformedJSON` where an object holds too many members, or something nests too deeply."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        if not level:
            return
        below: list[Any] = []
        for container in level:
            items = container
            if container.__class__ is dict:
                if len(container) > MAX_MEMBERS:
                    raise MalformedJSON(_MEMBERS)
                items = container.values()
            below += [item for item in items if item.__class__ is dict or item.__class__ is list]
        level = below
    if level:
        raise MalformedJSON(_DEPTH)


def _holds_lone_surrogate(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def parse_with_stdlib(data: bytes) -> dict[str, Any]:
    """The members of the JSON object that is all of `data`; raises `MalformedJSON` (RFC 8259, RFC 7493).

    Refused: anything but UTF-8, a byte order mark, lone surrogates, duplicate names at any depth, NaN and
    infinities, numbers of more than 40 digits or beyond the range of a double, more than 1024 members in one
    object, more than 16 levels, and anything but white space around the object.
    """
    containers = _containers(data)
    value: Any = None
    hint: str | None = None
    try:
        text = data.decode().strip(" \t\n\r")
        value, end = _DECODER.raw_decode(text)
        if end != len(text):
            value = None
    except MalformedJSON as error:
        value, hint = None, error.hint
    except (ValueError, RecursionError) as error:
        # Raised anew below, so that no error leads on to JSONDecodeError.doc, which is the document itself.
        value, hint = None, _DEPTH if isinstance(error, RecursionError) else None
    if value.__class__ is not dict:
        raise MalformedJSON(hint)
    if containers > MAX_DEPTH:  # else it cannot nest deeper than that
        _refuse_excess(value)
    # UTF-8 has no surrogates, so only an escape can bring one in.
    if _BACKSLASH in data and (b"\\ud" in data or b"\\uD" in data) and _holds_lone_surrogate(value):
        raise MalformedJSON
    members: dict[str, Any] = value
    return members


def parts_of(data: bytes) -> int:
    """The commas and opening brackets, those in strings too: what the cost of reading grows with."""
    return data.count(b",") + data.count(b"[") + data.count(b"{")


try:
    import orjson
except ImportError:

    def parse_object(
        data: bytes, otherwise: Callable[[bytes], dict[str, Any]] = parse_with_stdlib
    ) -> dict[str, Any]:
        """The same as `parse_with_stdlib`."""
        return otherwise(data)
else:

    def parse_object(
        data: bytes, otherwise: Callable[[bytes], dict[str, Any]] = parse_with_stdlib
    ) -> dict[str, Any]:
        """The same as `parse_with_stdlib`, at half the cost; `otherwise` reads what does not come back."""
        if _BACKSLASH in data and (b"\\u" in data or b"\\/" in data):
            return otherwise(data)  # orjson writes hardly any of these escapes
        containers = _containers(data) if _BRACKET in data or _BRACE in data[1:] else 0
        try:
            value = orjson.loads(data)
        except ValueError:  # not JSON, or JSON that orjson cannot hold
            value = None
        if value.__class__ is not dict:
            return otherwise(data)
        # Before dumps(), which has a depth limit of its own. Few brackets and colons cannot exceed anything.
        if containers > MAX_DEPTH or (len(data) >= _SMALLEST_OVERFULL and data.count(b":") > MAX_MEMBERS):
            _refuse_excess(value)
        if orjson.dumps(value) != data:
            return otherwise(data)
        members: dict[str, Any] = value
        return members


class _TakesLong(Exception):
    pass


def _refuse_to_read(_: bytes) -> NoReturn:
    raise _TakesLong


def parse_brief(data: bytes) -> dict[str, Any] | None:
    """The same as `parse_object`, or None for what takes long to read."""
    if len(data) <= BRIEF_BYTES and parts_of(data) <= BRIEF_PARTS:
        return parse_object(data)
    if _BACKSLASH in data or parts_of(data) > BRIEF_PARTS + len(data) // BYTES_PER_PART:
        return None
    try:
        return parse_object(data, _refuse_to_read)
    except _TakesLong:
        return None
