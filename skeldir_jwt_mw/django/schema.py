"""The migration operation that runs one of the schema's SQL files, where the shared table lives."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, TextIO

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import RunSQL
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.exposure import QUERY, exposures

from . import conf
from .store import DjangoStore

FILES = "skeldir_jwt_mw.migrations"
REVERSALS = "skeldir_jwt_mw.django.migrations"


class RunFile(RunSQL):
    """Runs the file of that name, and `reversal` to undo it.

    Only on the database that the cache is configured for, which must be PostgreSQL: everywhere else, the
    migration is recorded and changes nothing.
    """

    def __init__(
        self,
        name: str,
        *,
        reversal: str,
        state_operations: Sequence[Operation] = (),
        hints: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.reversal = reversal
        super().__init__(
            resources.files(FILES).joinpath(name).read_text(encoding="utf-8"),
            resources.files(REVERSALS).joinpath(reversal).read_text(encoding="utf-8"),
            state_operations=list(state_operations),
            hints=dict(hints or {}),
        )

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """How the operation is written in a migration: by the names of its files."""
        kwargs: dict[str, Any] = {"reversal": self.reversal}
        if self.state_operations:
            kwargs["state_operations"] = self.state_operations
        if self.hints:
            kwargs["hints"] = self.hints
        return (self.__class__.__qualname__, [self.name], kwargs)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Run the file."""
        if holds_cache(schema_editor.connection.alias):
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Run the file that undoes it."""
        if holds_cache(schema_editor.connection.alias):
            super().database_backwards(app_label, schema_editor, from_state, to_state)

    def describe(self) -> str:
        """What `migrate --plan` shows."""
        return f"Run {self.name}"


def holds_cache(alias: str | None) -> bool:
    """Whether a database, by its name in `DATABASES`, is the one that the shared table belongs in."""
    return alias is not None and alias == cache_alias() and conf.is_postgresql(alias)


def tell_exposures(*, using: str, verbosity: int = 1, stdout: TextIO | None = None, **_: object) -> None:
    """After `manage.py migrate`, say which roles may use the tables without having been chosen for it."""
    if verbosity < 1 or not holds_cache(using):
        return
    with connections[using].cursor() as cursor:
        cursor.execute(QUERY)
        found = exposures(cursor.fetchall())
    for one in found:
        (stdout or sys.stderr).write(f"  WARNING: {one}\n")


def has_cache() -> bool:
    """Whether the shared table belongs in one of the project's databases."""
    try:
        return holds_cache(cache_alias())
    except ImproperlyConfigured:
        return False


def cache_alias() -> str | None:
    """The name in `DATABASES` of the database that holds the shared table; None where it is not one of them.

    Where settings are missing or wrong, which the checks tell, their `DATABASE` still counts: a table can be
    made before an issuer is known. Raises `ImproperlyConfigured` where a `VERIFIER` cannot be had.
    """
    try:
        configured = conf.settings()
    except ImproperlyConfigured:
        given = getattr(settings, conf.SETTING, None)
        alias = given.get("DATABASE") if isinstance(given, Mapping) else None
        return alias if isinstance(alias, str) else DEFAULT_DB_ALIAS
    store: object = configured.store
    if configured.given_verifier is not None:
        store = getattr(conf.verifier(), "store", None)
    if isinstance(store, DjangoStore):
        return store.alias
    try:
        return conf.database_alias(configured)
    except ConfigurationError:
        return None
