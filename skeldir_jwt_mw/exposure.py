"""Which roles may use our tables without having been chosen for it, and how to take that from them.

Seals keep whoever writes to the table from having tokens accepted, but not from keeping the fleet busy, and
what default privileges give away is given to strangers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources

from .printable import printable

QUERY = resources.files("skeldir_jwt_mw.stores").joinpath("privileges.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """A role that has privileges on one of our tables by default, or because everybody has."""

    table: str  # with its schema
    role: str | None  # None: everybody
    privileges: str  # "SELECT, UPDATE"

    @property
    def revoke(self) -> str:
        """The statement that takes the privileges away, for the table's owner to run."""
        return f"REVOKE ALL ON {self.table} FROM {'PUBLIC' if self.role is None else _identifier(self.role)};"

    def __str__(self) -> str:
        who = "everybody (PUBLIC)" if self.role is None else f"the role {printable(self.role)}"
        return (
            f"{who} may {self.privileges} on {self.table}, as default privileges or a grant to all have it;"
            f" unless it is the service's own role, run {printable(self.revoke)}"
        )


def exposures(rows: Iterable[Sequence[str | None]]) -> list[Exposure]:
    """What the rows of `QUERY` say: table, role and privileges each."""
    return [
        Exposure(table=f"public.{table}", role=role, privileges=privileges or "")
        for table, role, privileges in rows
    ]


def _identifier(name: str) -> str:
    """A role's name as SQL has it, in quotes, which no keyword and no odd name gets out of."""
    return '"' + name.replace('"', '""') + '"'
