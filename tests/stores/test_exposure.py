"""A table that default privileges open to strangers is told, with the statement that closes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from skeldir_jwt_mw.exposure import Exposure
from skeldir_jwt_mw.migrate import exposed, migrate

TABLES = ("public.jwt_verification_cache", "public.skeldir_jwt_migrations")
Role = Callable[[str], str]


@pytest.fixture
def empty(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def role(empty: str) -> Iterator[Role]:
    """Makes roles under names of their own, for roles are the whole server's."""
    made: list[str] = []

    def make(name: str, options: str = "NOLOGIN") -> str:
        full = f"{conninfo_to_dict(empty)['dbname']}_{name}"
        run(empty, f"CREATE ROLE {{}} {options}", full)
        made.append(full)
        return full

    yield make
    for name in reversed(made):
        run(empty, "DROP OWNED BY {}", name)
        run(empty, "DROP ROLE {}", name)


def run(dsn: str, statement: str, *names: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def open_to(dsn: str) -> list[tuple[str, str | None]]:
    return [(one.table, one.role) for one in exposed(dsn)]


def may_update(dsn: str, role: str) -> bool:
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT has_table_privilege(%s, 'public.jwt_verification_cache', 'UPDATE')", [role]
        ).fetchone()
    return found == (True,)


def test_a_table_that_only_its_owner_and_chosen_roles_may_use_is_nobody_s_concern(
    empty: str, role: Role
) -> None:
    migrate(empty)
    app = role("app")
    run(empty, "GRANT SELECT, INSERT, UPDATE ON public.jwt_verification_cache TO {}", app)
    assert exposed(empty) == []


@pytest.mark.parametrize("where", ["IN SCHEMA public ", ""])
def test_what_default_privileges_give_away_is_told_and_the_statement_takes_it_back(
    where: str, empty: str, role: Role
) -> None:
    anon = role("anon")
    run(empty, f"ALTER DEFAULT PRIVILEGES {where}GRANT ALL ON TABLES TO {{}}", anon)
    migrate(empty)
    assert may_update(empty, anon)
    found = exposed(empty)
    assert [(one.table, one.role) for one in found] == [(table, anon) for table in TABLES]
    assert "INSERT" in found[0].privileges
    assert "UPDATE" in found[0].privileges
    with psycopg.connect(empty) as connection:
        for one in found:
            connection.execute(one.revoke.encode())
    assert exposed(empty) == []
    assert not may_update(empty, anon)


def test_privileges_of_everybody_are_told(empty: str) -> None:
    migrate(empty)
    run(empty, "GRANT SELECT ON public.jwt_verification_cache TO PUBLIC")
    (found,) = exposed(empty)
    assert (found.table, found.role, found.privileges) == (TABLES[0], None, "SELECT")
    assert found.revoke == "REVOKE ALL ON public.jwt_verification_cache FROM PUBLIC;"
    run(empty, found.revoke)
    assert exposed(empty) == []


def test_a_grant_on_one_column_counts(empty: str) -> None:
    migrate(empty)
    run(empty, "GRANT UPDATE (last_error) ON public.jwt_verification_cache TO PUBLIC")
    (found,) = exposed(empty)
    assert (found.role, found.privileges) == (None, "UPDATE")
    run(empty, found.revoke)
    assert exposed(empty) == []


def test_default_privileges_of_another_owner_or_schema_are_no_concern(empty: str, role: Role) -> None:
    anon, owner = role("anon"), role("owner")
    run(empty, "CREATE SCHEMA api")
    run(empty, "ALTER DEFAULT PRIVILEGES IN SCHEMA api GRANT ALL ON TABLES TO {}", anon)
    run(empty, "ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT ALL ON TABLES TO {}", owner, anon)
    migrate(empty)
    assert exposed(empty) == []


def test_the_table_of_another_owner_is_judged_by_that_owner_s_defaults(empty: str, role: Role) -> None:
    anon, owner = role("anon"), role("owner", "LOGIN")
    run(empty, "GRANT CREATE ON SCHEMA public TO {}", owner)
    run(empty, "ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT ALL ON TABLES TO {}", owner, anon)
    migrate(make_conninfo(empty, user=owner))
    assert open_to(empty) == [(table, anon) for table in TABLES]


def test_an_odd_name_is_quoted_and_printed_escaped() -> None:
    odd = Exposure(table=TABLES[0], role='a"; DROP TABLE x;\x1b[2J\n--', privileges="SELECT")
    assert odd.revoke.endswith('FROM "a""; DROP TABLE x;\x1b[2J\n--";')
    assert str(odd).isprintable()
