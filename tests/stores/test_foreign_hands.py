"""What somebody may do who shares the database: choose names, settings and policies, and fill columns."""

from __future__ import annotations

import ast
import inspect
import re
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from types import ModuleType
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from store_bench import FLOOR, KEY, LEASE, REFRESH, PostgresBench, claim_of, without_encoding

import skeldir_jwt_mw.migrate
from skeldir_jwt_mw.core.effects import Read, StoreContended, StoreReadOnly, StoreUnavailable
from skeldir_jwt_mw.core.row import clocks_agree
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.migrate import migrate, migrations, provision
from skeldir_jwt_mw.stores import PostgresStore
from skeldir_jwt_mw.stores.session import StatementSession, row_of
from skeldir_jwt_mw.stores.statements import STATEMENTS
from skeldir_jwt_mw.testing.pgbouncer import PgBouncer

TABLE = "public.jwt_verification_cache"
MIB = 1 << 20
READ = Read(force=False, need=False, have=0, bad=-1, floor=FLOOR, refresh=REFRESH)

# -- names: what a statement means is not the role's to choose ------------------------------------------

# Grammar of PostgreSQL that looks like a call, and is bound to pg_catalog or to no schema at all.
GRAMMAR = frozenset({"extract", "greatest", "least", "coalesce"})
WORDS = """and as by case check conflict constraint exists from in key materialized not of on operator or over
    primary select set then table to update using values when where with jwt_verification_cache
    skeldir_jwt_migrations"""
KEYWORDS = frozenset(re.findall(r"\w+", WORDS))
# The first file was released with one function that is bound when the owner creates the table.
RELEASED = {"0001_create_jwt_verification_cache.sql": {"octet_length"}}


def texts_of(module: ModuleType) -> list[str]:
    """The SQL that a module holds."""
    constants = (
        node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Constant)
    )
    return [
        text for node in constants if re.match(r"\s*(SELECT|CREATE|INSERT| ON)\b", text := str(node.value))
    ]


TEXTS = {
    "the statements": "\n".join(STATEMENTS.values()),
    **{migration.name: migration.sql for migration in migrations()},
    "the ledger's": "\n".join(texts_of(skeldir_jwt_mw.migrate)),
}


def code_of(text: str) -> str:
    """SQL without comments and string constants."""
    text = re.sub(r"--.*", "", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
    return re.sub(r"'[^']*'", "''", text)


def calls(text: str) -> set[str]:
    """Functions that a text calls by their name alone."""
    found = re.findall(r"(?<![\w.%])([a-z_]\w*)\s*\(", code_of(text), re.IGNORECASE)
    return {name.lower() for name in found} - GRAMMAR - KEYWORDS


def types(text: str) -> set[str]:
    """Types that a text names by words which are not PostgreSQL's grammar."""
    code = code_of(text)
    named = re.findall(r"::\s*([\w.]+)", code) + re.findall(r"\b(\w+)\s+''", code)
    return {name.lower() for name in named} - {
        *("bigint", "int", "double", "interval", "zone", "pg_catalog.regclass"),
        *("then", "else", "default", "select", "when", "in"),
    }


def test_the_scan_sees_names_without_a_schema() -> None:
    text = (
        "SELECT now(), pg_catalog.now(), greatest(1, 2), 'f(x)', x::timestamptz, timestamptz 'epoch' -- g()"
    )
    assert calls(text) == {"now"}
    assert types(text) == {"timestamptz"}


@pytest.mark.parametrize("name", TEXTS)
def test_functions_and_types_are_named_with_their_schema(name: str) -> None:
    assert calls(TEXTS[name]) == RELEASED.get(name, set())
    assert types(TEXTS[name]) == set()


HOSTILE = """
CREATE SCHEMA evil;
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql
    AS $$SELECT pg_catalog.clock_timestamp() - interval '30 days'$$;
CREATE FUNCTION evil.transaction_timestamp() RETURNS timestamptz LANGUAGE sql
    AS $$SELECT pg_catalog.clock_timestamp() + interval '30 days'$$;
CREATE FUNCTION evil.octet_length(bytea) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION evil.octet_length(text) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION evil.left(text, int) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION evil.row_security_active(text) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE DOMAIN evil.timestamptz AS text;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
"""
OPERATOR = """
CREATE FUNCTION evil.less(numeric, int) RETURNS numeric LANGUAGE sql AS 'SELECT 1.0';
CREATE OPERATOR evil.* (LEFTARG = numeric, RIGHTARG = int, FUNCTION = evil.less);
"""


@pytest.fixture
def owner(new_database: Callable[[], str]) -> str:
    """A database, for its owner."""
    dsn = new_database()
    migrate(dsn)
    return dsn


@pytest.fixture
def hostile(owner: str) -> Iterator[PostgresBench]:
    """The same with a schema of an adversary's, for a role that may choose its search_path."""
    dsn = owner
    role = sql.Identifier(f"{conninfo_to_dict(dsn)['dbname']}_app")
    with psycopg.connect(dsn) as connection:
        connection.execute(HOSTILE)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        connection.execute(sql.SQL("GRANT SELECT, INSERT, UPDATE ON {} TO {}").format(sql.SQL(TABLE), role))
    yield PostgresBench(make_conninfo(dsn, user=role.as_string().strip('"')))
    with psycopg.connect(dsn) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
        connection.execute(sql.SQL("DROP ROLE {}").format(role))


def use_path(bench: PostgresBench, path: str) -> None:
    """As a role may do for itself."""
    bench.execute(f"ALTER ROLE CURRENT_USER SET search_path = {path}")


def test_a_schema_of_the_adversarys_does_not_turn_the_clock_back(hostile: PostgresBench) -> None:
    before = hostile.claim().now_us
    hostile.advance(3600)
    use_path(hostile, "evil, public")  # pg_catalog comes first where nobody names it
    now = hostile.read().now_us
    assert before is not None
    assert now is not None
    assert before <= now < before + 60_000_000


def test_a_poll_and_a_write_read_postgresqls_own_clock(hostile: PostgresBench) -> None:
    """They tell nothing of the path: what they call is enough."""
    row, claim = hostile.lead()
    hostile.advance(LEASE + 1)
    use_path(hostile, "evil, pg_catalog, public")
    with hostile.session() as session:
        assert not session.peek(KEY).running
    assert not hostile.publish(row, claim)


@pytest.mark.parametrize("path", ["evil, pg_catalog", "public, pg_catalog", "evil, pg_catalog, public"])
def test_a_search_path_that_could_redefine_operators_is_an_operators_to_mend(
    owner: str, hostile: PostgresBench, path: str
) -> None:
    hostile.fetch()
    with psycopg.connect(owner) as connection:
        connection.execute(OPERATOR)
    use_path(hostile, path)
    for call in (hostile.claim, hostile.read):
        with pytest.raises(ConfigurationError, match="search_path"):
            call()
    use_path(hostile, "pg_catalog, evil")
    assert hostile.claim().verdict == "newer"


def test_a_temporary_schema_is_no_objection(hostile: PostgresBench) -> None:
    hostile.fetch()
    with hostile.session() as session:
        session.peek(KEY)
        connection = session._connection._connection  # type: ignore[attr-defined]
        connection.execute(b"CREATE TEMPORARY TABLE n (t int)")
        row = session.read(KEY, READ)
        assert row is not None
        assert row.payload is not None


@pytest.mark.parametrize(("off", "agree"), [(0, True), (86_399, True), (-86_399, True), (86_401, False)])
def test_a_row_is_not_judged_by_another_days_clock(off: int, agree: bool) -> None:
    now = 1_790_000_000
    assert clocks_agree(now * 1_000_000, now + off) == agree
    assert clocks_agree(now * 1_000_000, now - off) == agree


# -- columns --------------------------------------------------------------------------------------------


@pytest.fixture
def own(owner: str) -> PostgresBench:
    """A store in a database of its own, with keys."""
    bench = PostgresBench(owner)
    bench.fetch()
    return bench


TEXT_COLUMNS = ("etag", "last_modified", "last_error", "last_refresh_reason")


@pytest.mark.parametrize("column", [*TEXT_COLUMNS, "seal", "payload"])
def test_the_table_refuses_what_no_worker_writes(own: PostgresBench, column: str) -> None:
    value = "repeat('x', 1048576)"
    with pytest.raises(psycopg.errors.CheckViolation):
        own.set(f"{column} = {value if column in TEXT_COLUMNS else value + '::bytea'}")


@pytest.mark.parametrize("column", [*TEXT_COLUMNS, "seal", "payload"])
def test_no_worker_holds_what_somebody_put_there_before_the_limits(own: PostgresBench, column: str) -> None:
    """A reader asks for a few kilobytes at most, however much there is."""
    own.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT jwt_verification_cache_limits")
    own.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT jwt_verification_cache_payload_check")
    huge = f"repeat('x', {20 * MIB})"
    own.set(f"{column} = {huge if column in TEXT_COLUMNS else huge + '::bytea'}")
    with own.session() as session:
        session.peek(KEY)
        tracemalloc.start()
        try:
            for row in (session.read(KEY, READ), session.claim(KEY, claim_of()), session.peek(KEY)):
                assert row is not None
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < MIB
        row = session.read(KEY, READ)
    assert row is not None
    told = getattr(row, column)
    assert told is None or len(told) <= 200


def test_a_filled_row_is_mended_by_the_migration_and_fetched_anew(new_database: Callable[[], str]) -> None:
    dsn = new_database()
    first, *later = migrations()
    with psycopg.connect(dsn) as connection:
        connection.execute(first.sql.encode())
        connection.execute(
            f"INSERT INTO {TABLE} (source_key, etag, last_error, generation, fence)"
            f" VALUES ('{KEY}', repeat('x', {MIB}), repeat('y', {MIB}), 1, 1)".encode()
        )
    assert migrate(dsn) == [first.name, *(migration.name for migration in later)]
    bench = PostgresBench(dsn)
    assert {bench.columns()[name] for name in ("etag", "last_error")} == {None}
    row, claim = bench.lead(bad=1)
    assert bench.publish(row, claim)


def test_a_role_with_update_on_columns_is_not_locked_out_by_the_upgrade(
    new_database: Callable[[], str],
) -> None:
    dsn = new_database()
    first, *_ = migrations()
    name = f"{conninfo_to_dict(dsn)['dbname']} app"
    role = sql.Identifier(name)
    with psycopg.connect(dsn) as connection:
        connection.execute(first.sql.encode())
        columns = connection.execute(
            f"SELECT string_agg(attname, ', ') FROM pg_attribute"
            f" WHERE attrelid = '{TABLE}'::regclass AND attnum > 1".encode()
        ).fetchone()
        assert columns is not None
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        grant = sql.SQL("GRANT SELECT, UPDATE ({}) ON {} TO {}")
        connection.execute(grant.format(sql.SQL(columns[0]), sql.SQL(TABLE), role))
    try:
        migrate(dsn)
        provision(dsn, [KEY])
        bench = PostgresBench(make_conninfo(dsn, user=name))
        row, claim = bench.lead(force=True)
        assert bench.fail(row, claim) is not None
    finally:
        with psycopg.connect(dsn) as connection:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
            connection.execute(sql.SQL("DROP ROLE {}").format(role))


def test_workers_of_the_version_before_go_on_beside_new_ones(own: PostgresBench) -> None:
    """They write no moments: what they set is honoured from the second time on, and stalls nobody."""
    generation = own.columns()["generation"]
    old_floor = "floor_until = now() + interval '5 s', claimed_at = now()"
    own.set(old_floor)
    row, claim = own.lead(force=True, have=generation)  # once, in spite of theirs
    assert own.publish(row, claim)
    own.set(f"{old_floor}, lease_owner = NULL")
    assert own.claim(force=True, have=row.fence).verdict == "floor"
    own.set("floor_until = 'epoch', backoff_until = now() + interval '1 h', claimed_at = now()")
    row, claim = own.lead(force=True, have=row.fence)
    assert own.fail(row, claim) is not None
    own.set("backoff_until = now() + interval '1 h', claimed_at = now()")
    assert own.claim(force=True, have=row.fence).verdict == "backoff"


# -- encodings ------------------------------------------------------------------------------------------


@pytest.fixture
def sql_ascii(postgres_dsn: str) -> Iterator[str]:
    with without_encoding(postgres_dsn) as dsn:
        yield dsn


def go_through_a_life(bench: PostgresBench) -> None:
    row, claim = bench.lead()
    assert bench.fail(row, claim, error="ü" * 300) is not None
    told = bench.read()
    assert (told.outcome, told.last_error) == ("failed", (r"\xfc" * 50))
    bench.set("backoff_until = 'epoch'")
    bench.fetch()
    assert bench.claim().etag == '"one"'


def test_a_database_without_an_encoding_serves_a_fleet(sql_ascii: str) -> None:
    bench = PostgresBench(sql_ascii)
    go_through_a_life(bench)
    bench.set("last_error = E'\\xff\\xfe', etag = E'\\xff', last_modified = E'\\xff'")  # text that is none
    row = bench.read()
    assert (row.last_error, row.etag, row.last_modified) == ("??", None, None)
    assert bench.claim().verdict == "newer"  # and, as its seal covers an ETag, fetched over


@pytest.mark.parametrize("way", ["environment", "role", "connection string"])
def test_no_setting_chooses_the_encoding_that_a_store_reads(
    hostile: PostgresBench, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "environment":
        monkeypatch.setenv("PGCLIENTENCODING", "SQL_ASCII")
    elif way == "role":
        hostile.execute("ALTER ROLE CURRENT_USER SET client_encoding = SQL_ASCII")
    else:
        hostile.store = PostgresStore(make_conninfo(hostile.dsn, client_encoding="SQL_ASCII"))
    assert verdict_of(hostile) == "leader"


def verdict_of(bench: PostgresBench) -> str:
    """The verdict of a claim, or why there is none."""
    try:
        return str(bench.claim().verdict)
    except (StoreContended, StoreUnavailable) as error:
        return str(error)


def answer(**changes: Any) -> dict[str, Any]:
    """The columns of a claim's answer, with changes."""
    numbers = dict.fromkeys(
        ("fence", "generation", "failures", "claimed_us", "now_us", "fetched_us", "expires_us"), 1
    )
    times = dict.fromkeys(("lease_left", "floor_left", "backoff_left", "refresh_left"), 0.0)
    texts = dict.fromkeys(("last_error", "last_refresh_reason", "etag", "last_modified", "payload", "seal"))
    return {
        "verdict": "leader",
        "outcome": "ok",
        "schemas": "pg_catalog public",
        **numbers,
        **times,
        **texts,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": b"leader"}, "verdict = b'leader'"),
        ({"verdict": "emperor"}, "verdict = 'emperor'"),
        ({"outcome": None}, "outcome = None"),
        ({"generation": None}, "generation = None"),
        ({"fence": 1.5}, "fence = 1.5"),
        ({"etag": b"x"}, "etag = b'x'"),
        ({"last_error": "x" * 10_000, "verdict": "\x1b[2J" * 100}, r"\x1b[2J"),
    ],
)
def test_an_answer_that_no_statement_gives_is_a_store_failure_that_shows_it(
    changes: dict[str, Any], words: str
) -> None:
    assert row_of(answer()).verdict == "leader"
    with pytest.raises(StoreUnavailable, match=re.escape(words)) as caught:
        row_of(answer(**changes))
    assert len(str(caught.value)) < 150
    assert str(caught.value).isprintable()


# -- settings and policies ------------------------------------------------------------------------------


def test_a_primary_that_was_demoted_is_told_apart(pg_dsn: str) -> None:
    bench = PostgresBench(make_conninfo(pg_dsn, options="-c default_transaction_read_only=on"))
    with pytest.raises(StoreReadOnly, match="read-only"):
        bench.claim()


@pytest.mark.parametrize(
    ("policies", "kind", "words"),
    [
        ((), ConfigurationError, "policies for SELECT"),
        (("FOR SELECT USING (true)",), StoreContended, "policy for UPDATE"),
        (("FOR INSERT WITH CHECK (true)",), ConfigurationError, "policies for SELECT"),
    ],
    ids=["none", "SELECT alone", "INSERT alone"],
)
def test_row_level_security_is_named(
    owner: str, hostile: PostgresBench, policies: tuple[str, ...], kind: type[Exception], words: str
) -> None:
    provision(owner, [KEY])
    with psycopg.connect(owner) as connection:
        connection.execute(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY".encode())
        for number, policy in enumerate(policies):
            connection.execute(f"CREATE POLICY p{number} ON {TABLE} {policy}".encode())
    hostile.use_gate = False
    with pytest.raises(kind, match=words):
        hostile.claim()


class Hidden:
    """A connection whose statements see no row, though there is one."""

    def run(self, statement: str, parameters: Any, *, creating: bool = False) -> None:
        return None

    def patience(self) -> float:
        return 1.0

    def close(self) -> None:
        pass


def test_a_row_that_a_policy_hides_is_named() -> None:
    with pytest.raises(StoreContended, match="row level security without a policy for SELECT"):
        StatementSession(Hidden()).claim(KEY, claim_of())


def test_a_statement_timeout_and_a_lock_timeout_are_named(pg_dsn: str) -> None:
    PostgresBench(pg_dsn).fetch()
    for setting in ("statement_timeout", "lock_timeout"):
        bench = PostgresBench(make_conninfo(pg_dsn, options=f"-c {setting}=50"))
        with psycopg.connect(pg_dsn) as stranger:
            stranger.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE".encode())
            with pytest.raises(StoreContended, match=setting):
                bench.claim()


def test_a_pooler_without_a_free_connection_is_named(postgres_dsn: str, pg_dsn: str) -> None:
    with PgBouncer(postgres_dsn, pool_size=1) as pool:
        pooled = pool.dsn(str(conninfo_to_dict(pg_dsn)["dbname"]))
        with psycopg.connect(pooled) as other:
            other.execute("SELECT 1")  # its transaction has the only one
            with pytest.raises(StoreUnavailable, match=r"in time .*pooler"):
                PostgresStore(pooled).open(0.5).peek(KEY)
        with closing(PostgresStore(pooled).open(5.0)) as session:
            assert not session.peek(KEY).running
