"""Options that nobody gave, told apart from options that were given with the same value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Default:
    """Stands in a signature for an option that was left out; it is shown as the value that then holds."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)


def default(value: T) -> T:
    """The `Default` of that value, in the eyes of a type checker the value itself."""
    return cast("T", Default(value))


def chosen(name: str, given: T, configured: Mapping[str, Any]) -> T:
    """What holds of the option: what was given, else what is configured under its name, else its default."""
    if not isinstance(given, Default):
        return given
    return cast("T", configured.get(name, given.value))


REQUIRED: bool = default(True)
EXEMPT: tuple[str, ...] = default(())
EXEMPT_PREFLIGHT: bool = default(False)
REALM: str = default("api")
NOTHING: Any = default(None)
