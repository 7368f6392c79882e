"""What a source is: anything with `fetch`; and how the fleet tells sources apart."""

from __future__ import annotations

from typing import Protocol

from skeldir_jwt_mw.core.effects import Conditional, Fetched
from skeldir_jwt_mw.errors import ConfigurationError

MAX_DOCUMENT_BYTES = 262_144
MAX_IDENTITY_LENGTH = 2048


class Source(Protocol):
    """Where keys originate. `fetch` is called from one thread at a time, and is abandoned past its deadline.

    Two attributes are optional. `identity` (str) names the source to the fleet: sources of one identity share
    one row; see `source_identity`. `static` (bool) says that its keys never change, so no store is used.
    """

    def fetch(self, conditional: Conditional) -> Fetched:
        """Return the JWKS document (RFC 7517 §5), or None in its place for "not modified".

        Raises `FetchFailed` with a fixed text that holds nothing of the document.
        """
        ...


def source_identity(source: Source) -> str:
    """The name under which the fleet shares this source's keys.

    It is the source's `identity`, or `module.qualname` of its type where it has none: two sources of one type
    that yield different keys each need an `identity`. Raises `ConfigurationError` for an unusable name.
    """
    identity = getattr(source, "identity", None)
    kind = type(source)
    if identity is None:
        identity = qualified_name(kind)
        if identity is None:
            raise ConfigurationError(
                f"source ({kind.__name__}) is of a type without a stable name, so it must have an identity"
            )
    if (
        not isinstance(identity, str)
        or not identity.isprintable()
        or not 0 < len(identity) <= MAX_IDENTITY_LENGTH
    ):
        raise ConfigurationError(
            f"identity of the source ({kind.__name__}) must be a printable string "
            f"of 1 to {MAX_IDENTITY_LENGTH} characters"
        )
    return identity


def qualified_name(thing: object) -> str | None:
    """`module.qualname` where every process of the fleet comes to the same one, else None."""
    module = getattr(thing, "__module__", None)
    name = getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__" or "<" in name:
        return None
    return f"{module}.{name}"
