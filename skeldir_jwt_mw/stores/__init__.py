"""Where a fleet shares its key sets: Postgres, or the memory of one process."""

from __future__ import annotations

from .memory import MemoryStore
from .postgres import PostgresStore

__all__ = ["MemoryStore", "PostgresStore"]
