"""Strict JSON objects: what an issuer and this library could ever read differently is refused (R05, R06).

There is one language and two readers of it. `parse_with_stdlib` defines what is accepted. `parse_object` is
a shortcut where orjson is installed: a document that orjson reads and writes back byte for byte has no
duplicate member, no oversized number, no lone surrogate, nothing that two parsers could disagree on. What
does not come back as it was (white space, escapes, odd number formats) is left to the definition.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 16  # nested objects and arrays, the outermost one included
MAX_MEMBERS = 256  # in one object
MAX_DIGITS = 40  # of one number

# The least that MAX_MEMBERS + 1 members can take up: five bytes each, `"":0,`.
_SMALLEST_OVERFULL = 5 * (MAX_MEMBERS + 1)

# As numbers, for `number in bytes` is a memchr, and a tenth of what count() or a one-byte search costs.
_BACKSLASH, _BRACE, _BRACKET = b"\\{["


class MalformedJSON(ValueError):
    """The bytes are not a JSON object in the strict sense; the text is fixed and holds nothing of them."""

    def __init__(self) -> None:
        super().__init__("not a strict JSON object")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != (count := len(pairs)) or count > MAX_MEMBERS:
        raise MalformedJSON
    return members


def _integer(literal: str) -> int:
    if len(literal) <= MAX_DIGITS or len(literal.lstrip("-")) <= MAX_DIGITS:
        return int(literal)
    raise MalformedJSON


def _real(literal: str) -> float:
    if len(literal) > MAX_DIGITS and sum(map(str.isdigit, literal)) > MAX_DIGITS:
        raise MalformedJSON
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


def _may_nest_deeply(data: bytes) -> bool:
    """Whether there are enough brackets for more than `MAX_DEPTH` levels, counting those in strings too."""
    return data.count(b"{") + data.count(b"[") > MAX_DEPTH


def _exceeds(container: Any, levels: int) -> bool:
    """Whether an object or array holds too many members somewhere, or nests deeper than `levels`."""
    if levels == 0:
        return True
    items = container
    if container.__class__ is dict:
        if len(container) > MAX_MEMBERS:
            return True
        items = container.values()
    return any(item.__class__ in (dict, list) and _exceeds(item, levels - 1) for item in items)


def _holds_lone_surrogate(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def parse_with_stdlib(data: bytes) -> dict[str, Any]:
    """The members of the JSON object that is all of `data`; raises `MalformedJSON` (RFC 8259, RFC 7493).

    Refused: anything but UTF-8, a byte order mark, lone surrogates, duplicate names at any depth, NaN and
    infinities, numbers of more than 40 digits or beyond the range of a double, more than 256 members in one
    object, more than 16 levels, and anything but white space around the object.
    """
    value: Any = None
    try:
        text = data.decode().strip(" \t\n\r")
        value, end = _DECODER.raw_decode(text)
        if end != len(text):
            value = None
    except (ValueError, RecursionError):
        # Raised anew below, so that no error leads on to JSONDecodeError.doc, which is the document itself.
        value = None
    if value.__class__ is not dict:
        raise MalformedJSON
    # Cheap upper bounds of the depth come before the exact answer.
    if (_BRACKET in data or _BRACE in data[1:]) and _may_nest_deeply(data) and _exceeds(value, MAX_DEPTH):
        raise MalformedJSON
    # UTF-8 has no surrogates, so only an escape can bring one in.
    if _BACKSLASH in data and _holds_lone_surrogate(value):
        raise MalformedJSON
    members: dict[str, Any] = value
    return members


try:
    import orjson
except ImportError:
    parse_object = parse_with_stdlib
else:

    def parse_object(data: bytes) -> dict[str, Any]:
        """The same as `parse_with_stdlib`, at about half the cost."""
        try:
            value = orjson.loads(data)
        except ValueError:  # not JSON, or JSON that orjson cannot hold
            value = None
        if value.__class__ is not dict:
            return parse_with_stdlib(data)
        # Upper bounds again. Before dumps(), which has a depth limit of its own.
        if (
            ((_BRACKET in data or _BRACE in data[1:]) and _may_nest_deeply(data))
            or (len(data) >= _SMALLEST_OVERFULL and data.count(b":") > MAX_MEMBERS)
        ) and _exceeds(value, MAX_DEPTH):
            raise MalformedJSON
        if orjson.dumps(value) != data:
            return parse_with_stdlib(data)
        members: dict[str, Any] = value
        return members
