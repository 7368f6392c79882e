"""The named statements of `statements.sql`, composed from its fragments once, when this module is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

_HEADING = re.compile(r"^-- (name|fragment): (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)
_SLOT = re.compile(r"\{([A-Z_]+)\}")
_PARAMETER = re.compile(r"%\((\w+)\)s")


def compose(text: str) -> dict[str, str]:
    """The statements in a text, by name, with every `{FRAGMENT}` replaced by what it stands for.

    Raises `ValueError` where a name is given twice, a fragment is unknown, unused or made of itself.
    """
    parts: dict[str, dict[str, str]] = {"name": {}, "fragment": {}}
    _, *pieces = _HEADING.split(text)
    for kind, name, body in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
        if name in parts[kind]:
            raise ValueError(f"the {kind} {name} is given twice")
        parts[kind][name] = _COMMENT.sub("", body).strip()
    fragments = parts["fragment"]
    used: set[str] = set()

    def filled(body: str, inside: tuple[str, ...]) -> str:
        def fragment(slot: re.Match[str]) -> str:
            name = slot[1]
            if name not in fragments or name in inside:
                raise ValueError(f"the fragment {name} is unknown or made of itself")
            used.add(name)
            return filled(fragments[name], (*inside, name))

        return _SLOT.sub(fragment, body)

    statements = {name: filled(body, ()) for name, body in parts["name"].items()}
    if unused := fragments.keys() - used:
        raise ValueError(f"no statement uses the fragments {', '.join(sorted(unused))}")
    return statements


STATEMENTS: Mapping[str, str] = MappingProxyType(
    compose(resources.files("skeldir_jwt_mw.stores").joinpath("statements.sql").read_text(encoding="utf-8"))
)


@cache
def numbered(statement: str) -> tuple[bytes, tuple[str, ...]]:
    """A statement in the server's own form, `$1` for its first parameter, and the names in their order."""
    names = tuple(dict.fromkeys(_PARAMETER.findall(statement)))
    return _PARAMETER.sub(lambda named: f"${names.index(named[1]) + 1}", statement).encode(), names
