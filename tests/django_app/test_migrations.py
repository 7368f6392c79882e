"""Django's migrations run the schema's own files, where the cache is configured and nowhere else."""

from __future__ import annotations

import ast
import io
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
import pytest
from databases import MakeAlias, aliases
from django.apps import apps
from django.core.management import call_command
from django.db import ProgrammingError, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.writer import OperationWriter
from psycopg.conninfo import make_conninfo
from pytest_django import DjangoDbBlocker
from store_bench import PostgresBench

from skeldir_jwt_mw import Issuer, Verifier
from skeldir_jwt_mw.django.models import CachedKeySet
from skeldir_jwt_mw.django.schema import RunFile, cache_alias
from skeldir_jwt_mw.django.store import DjangoStore
from skeldir_jwt_mw.migrate import migrate, migrations

APP = "skeldir_jwt_mw"
TABLE = "public.jwt_verification_cache"
FILES = [migration.name for migration in migrations()]

# Whatever of the table a statement or the autovacuum could notice.
CATALOG = {
    "columns": f"""
        SELECT attname, format_type(atttypid, atttypmod), attnotnull, attstorage, attcompression,
               pg_get_expr(adbin, adrelid)
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = '{TABLE}'::regclass AND attnum > 0 ORDER BY attnum""",
    "constraints": f"""
        SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conrelid = '{TABLE}'::regclass ORDER BY conname""",
    "indexes": f"SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '{TABLE}'::regclass",
    "options": f"""
        SELECT c.relpersistence, c.relkind, c.reloptions, t.reloptions
        FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
        WHERE c.oid = '{TABLE}'::regclass""",
}


def ask(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement.encode()).fetchall()


def catalog(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    return {name: ask(dsn, statement) for name, statement in CATALOG.items()}


def has_table(dsn: str) -> bool:
    return ask(dsn, f"SELECT to_regclass('{TABLE}') IS NOT NULL") == [(True,)]


def works(dsn: str) -> bool:
    return PostgresBench(dsn).claim().verdict == "leader"


@pytest.fixture
def make_alias(django_db_blocker: DjangoDbBlocker) -> Iterator[MakeAlias]:
    with django_db_blocker.unblock(), aliases() as make:
        yield make


@pytest.fixture
def empty(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def alias(make_alias: MakeAlias, empty: str, settings: Any) -> str:
    """An empty database, which the settings give the cache."""
    alias = make_alias(empty)
    settings.SKELDIR_JWT = {**settings.SKELDIR_JWT, "DATABASE": alias}
    return alias


def django_migrate(alias: str, *target: str) -> str:
    """Migrate the app; what Django says."""
    out = io.StringIO()
    call_command("migrate", APP, *target, database=alias, stdout=out, skip_checks=True)
    return out.getvalue()


# -- files ----------------------------------------------------------------------------------------------


def test_every_file_of_the_schema_is_run_by_exactly_one_migration() -> None:
    loader = MigrationLoader(None)
    run = [
        operation.name
        for key in sorted(loader.disk_migrations)
        if key[0] == APP
        for operation in loader.disk_migrations[key].operations
        if isinstance(operation, RunFile)
    ]
    assert run == FILES


def test_migrate_tells_who_else_may_use_the_table(alias: str, empty: str) -> None:
    with psycopg.connect(empty) as connection:
        connection.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT, UPDATE ON TABLES TO PUBLIC")
    told = django_migrate(alias)
    words = "WARNING: everybody (PUBLIC) may SELECT, UPDATE on public.jwt_verification_cache"
    assert words in told
    assert "run REVOKE ALL ON public.jwt_verification_cache FROM PUBLIC;" in told
    with psycopg.connect(empty) as connection:
        connection.execute("REVOKE ALL ON public.jwt_verification_cache FROM PUBLIC")
    assert "WARNING" not in django_migrate(alias)


def test_a_migration_has_the_name_of_its_file() -> None:
    names = sorted(name for app, name in MigrationLoader(None).disk_migrations if app == APP)
    assert names == [name.removesuffix(".sql") for name in FILES]


def test_the_migrations_hold_no_sql() -> None:
    folder = Path(str(resources.files("skeldir_jwt_mw.django.migrations")))
    for path in folder.glob("0*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert "RunSQL" not in {ast.unparse(call.func).rpartition(".")[2] for call in calls}


def test_an_operation_is_written_by_the_names_of_its_files() -> None:
    operation = RunFile(FILES[0], reversal="0001_drop_jwt_verification_cache.sql", hints={"model_name": "x"})
    text, imports = OperationWriter(operation, indentation=0).serialize()
    assert text.count(FILES[0]) == 1
    assert "CREATE" not in text
    assert imports == {"import skeldir_jwt_mw.django.schema"}
    again = RunFile(*operation.deconstruct()[1], **operation.deconstruct()[2])
    assert (again.sql, again.reverse_sql) == (operation.sql, operation.reverse_sql)


@pytest.mark.django_db
def test_nothing_is_left_to_migrate() -> None:
    call_command("makemigrations", APP, check=True, dry_run=True, stdout=io.StringIO())


# -- the schema -----------------------------------------------------------------------------------------


def test_the_schema_is_the_one_of_the_files(alias: str, empty: str, migrated_dsn: str) -> None:
    django_migrate(alias)
    mine = catalog(empty)
    assert all(mine.values())
    assert mine == catalog(migrated_dsn)
    assert works(empty)


def test_the_model_has_the_columns_of_the_table(alias: str, empty: str) -> None:
    django_migrate(alias)
    columns = {name: (kind, not_null) for name, kind, not_null, *_ in catalog(empty)["columns"]}
    fields: dict[str, tuple[str | None, bool]] = {}
    for field in CachedKeySet._meta.local_fields:
        assert field.column is not None
        fields[field.column] = (field.db_type(connections[alias]), not field.null)
    assert fields == columns
    assert list(fields) == list(columns)


def test_the_migration_can_be_undone_and_done_again(alias: str, empty: str) -> None:
    django_migrate(alias)
    django_migrate(alias, "zero")
    assert not has_table(empty)
    django_migrate(alias)
    assert works(empty)


def test_undoing_it_where_the_table_is_gone_is_harmless(alias: str, empty: str) -> None:
    django_migrate(alias)
    with psycopg.connect(empty) as connection:
        connection.execute(f"DROP TABLE {TABLE}".encode())
    django_migrate(alias, "zero")
    django_migrate(alias)
    assert works(empty)


def test_migrating_where_the_command_has_made_the_table_is_harmless(alias: str, empty: str) -> None:
    migrate(empty)
    assert works(empty)
    django_migrate(alias)
    assert catalog(empty)["columns"]
    assert PostgresBench(empty).columns()["fetch_attempt_count"] == 1


def test_migrating_where_psql_has_made_the_table_is_harmless(alias: str, empty: str) -> None:
    with psycopg.connect(empty) as connection:
        for migration in migrations():
            connection.execute(migration.sql.encode())
    assert works(empty)
    django_migrate(alias)
    assert PostgresBench(empty).columns()["fetch_attempt_count"] == 1


def test_where_another_role_owns_the_table_the_migration_can_be_faked(
    make_alias: MakeAlias, empty: str, settings: Any
) -> None:
    migrate(empty)
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS not_the_owner")
        connection.execute("CREATE ROLE not_the_owner LOGIN")
        connection.execute("GRANT CREATE ON SCHEMA public TO not_the_owner")
        try:
            alias = make_alias(make_conninfo(empty, user="not_the_owner"))
            settings.SKELDIR_JWT = {**settings.SKELDIR_JWT, "DATABASE": alias}
            with pytest.raises(ProgrammingError, match="must be owner"):
                django_migrate(alias)
            call_command("migrate", APP, database=alias, fake=True, stdout=io.StringIO(), skip_checks=True)
            assert "No migrations to apply" in django_migrate(alias)
            connections[alias].close()
        finally:
            connection.execute("DROP OWNED BY not_the_owner")
            connection.execute("DROP ROLE not_the_owner")
    assert works(empty)


def test_the_command_after_django_is_harmless(alias: str, empty: str) -> None:
    django_migrate(alias)
    assert works(empty)
    assert migrate(empty) == FILES  # entered in its ledger
    assert PostgresBench(empty).columns()["fetch_attempt_count"] == 1


def test_the_command_makes_the_table_again_that_django_has_dropped(alias: str, empty: str) -> None:
    migrate(empty)
    django_migrate(alias)
    django_migrate(alias, "zero")
    assert migrate(empty) == FILES
    assert works(empty)
    assert migrate(empty) == []


def test_the_table_is_in_public_whatever_the_search_path_is(
    make_alias: MakeAlias, empty: str, settings: Any
) -> None:
    with psycopg.connect(empty) as connection:
        connection.execute("CREATE SCHEMA tenant")
    alias = make_alias(make_conninfo(empty, options="-c search_path=tenant"))
    settings.SKELDIR_JWT = {**settings.SKELDIR_JWT, "DATABASE": alias}
    django_migrate(alias)
    assert works(empty)
    assert CachedKeySet.objects.using(alias).count() == 1


@pytest.mark.parametrize("options", [{"server_side_binding": True}, {"pool": True}, {"prepare_threshold": 0}])
def test_the_files_run_however_the_project_connects(
    make_alias: MakeAlias, empty: str, settings: Any, options: dict[str, Any]
) -> None:
    alias = make_alias(empty, OPTIONS=options)
    settings.SKELDIR_JWT = {**settings.SKELDIR_JWT, "DATABASE": alias}
    django_migrate(alias)
    assert works(empty)


# -- where ----------------------------------------------------------------------------------------------


def test_another_database_gets_no_table(
    alias: str, make_alias: MakeAlias, new_database: Callable[[], str]
) -> None:
    other = new_database()
    elsewhere = make_alias(other)
    assert elsewhere != alias
    django_migrate(elsewhere)
    assert not has_table(other)
    django_migrate(elsewhere, "zero")


def test_a_database_that_is_configured_later_gets_its_table_by_migrating_from_zero(
    make_alias: MakeAlias, empty: str, settings: Any
) -> None:
    alias = make_alias(empty)
    django_migrate(alias)
    assert not has_table(empty)
    settings.SKELDIR_JWT = {**settings.SKELDIR_JWT, "DATABASE": alias}
    django_migrate(alias, "zero")
    django_migrate(alias)
    assert works(empty)


def sqlite(make_alias: MakeAlias, path: Path) -> str:
    return make_alias("", ENGINE="django.db.backends.sqlite3", NAME=str(path / "db.sqlite3"))


def test_sqlite_gets_no_table_and_migrates_both_ways(
    make_alias: MakeAlias, tmp_path: Path, settings: Any
) -> None:
    alias = sqlite(make_alias, tmp_path)
    settings.SKELDIR_JWT = {**settings.SKELDIR_JWT, "DATABASE": alias}
    django_migrate(alias)
    with connections[alias].cursor() as cursor:
        assert connections[alias].introspection.table_names(cursor) == ["django_migrations"]
    django_migrate(alias, "zero")


def test_a_second_database_of_another_kind_is_left_alone(
    alias: str, make_alias: MakeAlias, tmp_path: Path, empty: str
) -> None:
    other = sqlite(make_alias, tmp_path)
    call_command("migrate", database=other, stdout=io.StringIO(), skip_checks=True)
    call_command("migrate", database=alias, stdout=io.StringIO(), skip_checks=True)
    assert works(empty)
    with connections[other].cursor() as cursor:
        tables = connections[other].introspection.table_names(cursor)
    assert "auth_user" in tables
    assert [name for name in tables if "jwt" in name] == []


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_the_data_of_a_database_without_the_table_can_be_dumped_and_flushed(
    kind: str, make_alias: MakeAlias, tmp_path: Path, empty: str
) -> None:
    alias = make_alias(empty) if kind == "postgres" else sqlite(make_alias, tmp_path)
    call_command("migrate", database=alias, stdout=io.StringIO(), skip_checks=True)
    assert "contenttypes" in connections[alias].creation.serialize_db_to_string()
    for everything in (False, True):
        out = io.StringIO()
        call_command("dumpdata", database=alias, use_base_manager=everything, stdout=out)
        assert '"contenttypes.contenttype"' in out.getvalue()
    call_command("flush", database=alias, interactive=False, stdout=io.StringIO())


class Refusing:
    """A router that keeps the app's model, or whatever comes without one, off a database."""

    asked: list[dict[str, Any]]

    def __init__(self) -> None:
        self.asked = []

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        if app_label != APP:
            return None
        self.asked.append({"db": db, **hints})
        return False


def test_a_router_that_refuses_is_obeyed_and_told_the_model(alias: str, empty: str, settings: Any) -> None:
    router = Refusing()
    settings.DATABASE_ROUTERS = [router]
    django_migrate(alias)
    assert not has_table(empty)
    assert {"db": alias, "model_name": "cachedkeyset"} in router.asked


def test_the_table_is_where_the_settings_have_the_store(
    make_alias: MakeAlias, pg_dsn: str, settings: Any
) -> None:
    alias = make_alias(pg_dsn)
    store = DjangoStore(alias)
    issuer = Issuer("https://login.example.com/", audience="orders-api")
    verifier = Verifier(issuer, store=store, seal_keys=[bytes(32)])
    complete = {"ISSUER": "https://login.example.com/", "AUDIENCE": "orders-api"}
    places: list[tuple[dict[str, Any], str | None]] = [
        ({"DATABASE": alias}, alias),
        ({"STORE": store, **complete}, alias),
        ({"VERIFIER": verifier}, alias),
        ({"VERIFIER": lambda: verifier}, alias),
        ({"VERIFIER": Verifier(issuer)}, None),
        ({"DATABASE_URL": pg_dsn, **complete}, None),
        ({"DATABASE": "nowhere", **complete}, None),
        (complete, "default"),
        ({}, "default"),
    ]
    for given, place in places:
        settings.SKELDIR_JWT = given
        assert cache_alias() == place
    del settings.SKELDIR_JWT
    assert cache_alias() == "default"


# -- as Django sees it ----------------------------------------------------------------------------------


def test_django_gives_permissions_to_view_and_to_change_and_no_others(alias: str) -> None:
    call_command("migrate", database=alias, stdout=io.StringIO(), skip_checks=True)
    permission = apps.get_model("auth.Permission")
    found = permission.objects.using(alias).filter(content_type__app_label=APP)
    assert {p.codename for p in found} == {"view_cachedkeyset", "change_cachedkeyset"}


def test_a_row_can_be_read_and_not_written(alias: str, empty: str) -> None:
    django_migrate(alias)
    PostgresBench(empty).fetch()
    row = CachedKeySet.objects.using(alias).get()
    assert str(row) == row.source_key == "a source"
    assert bytes(row.payload or b"") == b'{"keys":[]}'
    assert (row.refresh_event_count, row.lease_owner) == (1, None)
    assert CachedKeySet.objects.using("default").count() == 0  # it has none
    assert CachedKeySet.objects.get() == row
    row.refresh_from_db()
    for write in (row.save, row.delete):
        with pytest.raises(TypeError, match="skeldir_jwt_refresh"):
            write()


def test_the_plan_and_the_sql_can_be_seen(alias: str) -> None:
    out = io.StringIO()
    call_command("migrate", APP, database=alias, plan=True, stdout=out, skip_checks=True)
    assert f"Run {FILES[0]}" in out.getvalue()
    out = io.StringIO()
    call_command("sqlmigrate", APP, "0001", database=alias, stdout=out)
    assert "CREATE TABLE IF NOT EXISTS public.jwt_verification_cache" in out.getvalue()


def test_a_migrated_database_has_nothing_left_to_do(alias: str) -> None:
    django_migrate(alias)
    executor = MigrationExecutor(connections[alias])
    assert (
        executor.migration_plan([node for node in executor.loader.graph.leaf_nodes() if node[0] == APP]) == []
    )
