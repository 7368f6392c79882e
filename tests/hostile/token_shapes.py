"""What a token may come as: strings and bytes, subclasses that lie about themselves, and what is neither."""

from __future__ import annotations

import array
import collections
import io
from typing import Any


class Text(str):
    """A string of an app's own, as template engines have them."""


class Octets(bytes):
    """Bytes of an app's own."""


# Without these no object can be made; everything else that a string or bytes can do is a lie of a liar.
_TRUE = frozenset(
    {"__new__", "__init__", "__class__", "__getattribute__", "__setattr__", "__init_subclass__"}
)


def _liar(kind: type) -> Any:
    """A subclass of a string or bytes whose every method answers for another token than it holds."""

    def lie(name: str) -> Any:
        return lambda self, *given, **named: getattr(self.lie, name)(*given, **named)

    names = [name for name in dir(kind) if callable(getattr(kind, name)) and name not in _TRUE]
    return type(f"Lying{kind.__name__}", (kind,), {name: lie(name) for name in names})


LyingText, LyingOctets = _liar(str), _liar(bytes)


def lying(raw: str | bytes, lie: str | bytes) -> Any:
    """`raw`, as an object that says in every way that it is `lie`, a token of the same type."""
    made = LyingText(raw) if isinstance(raw, str) else LyingOctets(raw)
    vars(made)["lie"] = lie
    return made


def text_of(raw: str | bytes) -> str:
    """The token as a string."""
    return raw if isinstance(raw, str) else raw.decode("latin-1")


def octets_of(raw: str | bytes) -> bytes:
    """The token as bytes."""
    return raw.encode() if isinstance(raw, str) else raw


def shapes(raw: str | bytes, lie: str) -> dict[str, Any]:
    """The token in everything that is judged by what it holds; two of them say that they are `lie`."""
    text, octets = text_of(raw), octets_of(raw)
    return {
        "str": text,
        "bytes": octets,
        "a subclass of str": Text(text),
        "a subclass of bytes": Octets(octets),
        "a str that lies": lying(text, lie),
        "bytes that lie": lying(octets, lie.encode()),
    }


class Pretender:
    """What a lazy object is: nothing of the class that it names."""

    def __init__(self, raw: str | bytes) -> None:
        self.raw = raw

    @property
    def __class__(self) -> Any:
        return type(self.raw)

    def __str__(self) -> str:
        return text_of(self.raw)

    def __bytes__(self) -> bytes:
        return octets_of(self.raw)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


class Equal:
    """Equal to the token, under its hash, and no string."""

    def __init__(self, raw: str | bytes) -> None:
        self.raw = raw

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash(self.raw)


class Raising:
    """What raises when it is hashed, compared, measured or shown."""

    def _raise(self, *_: object) -> Any:
        raise RuntimeError("nobody asks me")

    __eq__ = __hash__ = __len__ = __bool__ = __str__ = __repr__ = __iter__ = __bytes__ = __format__ = _raise


def no_tokens(good: str) -> dict[str, Any]:
    """What is neither str nor bytes, much of it with a good token inside: never a token, whatever it says."""
    octets = good.encode()
    return {
        "None": None,
        "True": True,
        "an int": 0,
        "a large int": int.from_bytes(octets),
        "a float": float("nan"),
        "a complex": 1j,
        "Ellipsis": ...,
        "NotImplemented": NotImplemented,
        "an object": object(),
        "str itself": str,
        "a function": lambda: good,
        "bytearray": bytearray(octets),
        "memoryview": memoryview(octets),
        "an array": array.array("B", octets),
        "a file": io.BytesIO(octets),
        "a UserString": collections.UserString(good),
        "an empty dict": {},
        "a dict": {good: good},
        "an empty list": [],
        "a list": [good],
        "a list of letters": list(good),
        "a tuple": (good,),
        "an empty tuple": (),
        "a set": {good},
        "an iterator": iter([good]),
        "an exception": ValueError(good),
        "what pretends to be str": Pretender(good),
        "what pretends to be bytes": Pretender(octets),
        "what is equal to a str": Equal(good),
        "what is equal to bytes": Equal(octets),
        "what raises": Raising(),
    }
