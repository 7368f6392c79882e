"""What only Postgres can do to a store: hostile values, locks, isolation, privileges, connections."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from store_bench import (
    FLOOR,
    KEY,
    LEASE,
    REFRESH,
    TIMES,
    Bench,
    PostgresBench,
    claim_of,
    isolated,
    publish_of,
)

from skeldir_jwt_mw.core.adoption import GENERATION_LIMIT
from skeldir_jwt_mw.core.effects import Read, StoreContended, StoreUnavailable
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.migrate import provision
from skeldir_jwt_mw.stores import PostgresStore
from skeldir_jwt_mw.stores.session import advisory_key

FAR = "now() + interval '10 years'"
BIGINT_MAX = 2**63 - 1


def activity(dsn: str, column: str) -> list[str | None]:
    """A column of pg_stat_activity, for the store's connections here: the tests' own have no name."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            sql.SQL(
                "SELECT {} FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND application_name <> ''"
            ).format(sql.Identifier(column))
        )
        return [row[0] for row in found]


def nobody_is_connected(dsn: str) -> bool:
    """Whether all connections are gone, now or in a moment: a backend ends after its client has gone."""
    deadline = time.monotonic() + 5
    while activity(dsn, "pid"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def bench(pg_dsn: str) -> PostgresBench:
    assert nobody_is_connected(pg_dsn)  # the backends of earlier clients are gone
    return PostgresBench(pg_dsn)


# -- hostile values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "verdict"), [(59, "wait"), (61, "leader")])
def test_a_lease_counts_up_to_a_minute(bench: PostgresBench, seconds: int, verdict: str) -> None:
    bench.lead()
    bench.set(f"lease_until = now() + interval '{seconds} s'")
    assert bench.claim().verdict == verdict


@pytest.mark.parametrize(
    ("seconds", "own", "verdict"),
    [(59, 7.0, "floor"), (61, 7.0, "leader"), (99, 100.0, "floor"), (101, 100.0, "leader")],
)
def test_a_floor_counts_up_to_a_minute_or_the_readers_own(
    bench: PostgresBench, seconds: int, own: float, verdict: str
) -> None:
    generation = bench.fetch()
    bench.set(f"floor_until = now() + interval '{seconds} s', floor_set_at = now()")
    assert bench.claim(force=True, have=generation, floor=own).verdict == verdict


@pytest.mark.parametrize(("seconds", "verdict"), [(3690, "backoff"), (3710, "leader")])
def test_backoff_counts_up_to_an_hour_and_its_jitter(
    bench: PostgresBench, seconds: int, verdict: str
) -> None:
    generation = bench.fetch()
    bench.set(f"backoff_until = now() + interval '{seconds} s', backoff_set_at = now()")
    assert bench.claim(force=True, have=generation).verdict == verdict


@pytest.mark.parametrize(
    ("deadline", "moment", "verdict"),
    [
        ("lease_until", "claimed_at", "wait"),
        ("floor_until", "floor_set_at", "floor"),
        ("backoff_until", "backoff_set_at", "backoff"),
    ],
)
def test_no_deadline_counts_that_was_set_by_a_clock_ahead_of_ours(
    bench: PostgresBench, deadline: str, moment: str, verdict: str
) -> None:
    generation = bench.fetch()
    bench.set(f"{deadline} = now() + interval '20 s', {moment} = now(), lease_owner = gen_random_uuid()")
    assert bench.claim(force=True, have=generation).verdict == verdict
    bench.set(f"{moment} = now() + interval '5 s'")
    row = bench.read(have=generation)
    assert row.lease_left == row.floor_left == row.backoff_left == 0
    assert bench.claim(force=True, have=generation).verdict == "leader"


def test_a_lease_that_names_nobody_holds_nobody_up(bench: PostgresBench) -> None:
    """No worker writes one. A poll that finds it over and a claim that waits for it would take turns."""
    generation = bench.fetch()
    bench.set("lease_until = now() + interval '50 s', claimed_at = now(), lease_owner = NULL")
    row = bench.read(have=generation)
    assert (row.outcome, row.lease_left) == ("ok", 0)
    assert bench.claim(force=True, have=generation).verdict == "leader"


@pytest.mark.parametrize("seconds", [50, 3600, 10 * 365 * 86_400])
def test_a_clock_that_is_set_back_lengthens_no_deadline_and_no_claim_revives_one(
    bench: PostgresBench, seconds: int
) -> None:
    """What the clock was ahead by is seen from behind: every time in the row moves into the future."""
    bench.fetch(force=True)
    row, claim = bench.lead(need=True, have=2**60)
    assert bench.fail(row, claim, retry_after=3600.0) is not None
    bench.advance(-seconds)
    row, claim = bench.lead(need=True, have=2**60)  # renews the moment of the lease, and of nothing else
    row = bench.read(have=2**60)
    assert row.floor_left == row.backoff_left == 0
    bench.advance(LEASE + 1)
    assert bench.claim(force=True, have=2**60).verdict == "leader"


def test_a_schedule_far_in_the_future_does_not_postpone_us(bench: PostgresBench) -> None:
    generation = bench.fetch()
    bench.set(f"next_refresh_at = {FAR}")
    row = bench.claim(have=generation)
    assert row.verdict == "fresh"
    assert REFRESH - 5 < row.refresh_left <= REFRESH
    bench.set(f"fetched_at = now() - {REFRESH} * interval '1 s'")
    assert bench.claim(have=generation).verdict == "leader"


def test_a_row_fetched_in_the_future_is_due(bench: PostgresBench) -> None:
    generation = bench.fetch()
    bench.set(f"fetched_at = {FAR}, next_refresh_at = {FAR}")
    assert bench.claim(have=generation).verdict == "leader"


def test_a_row_that_lost_its_document_is_due(bench: PostgresBench) -> None:
    generation = bench.fetch()
    bench.set("payload = NULL")
    assert bench.claim(have=generation).verdict == "leader"


def test_a_row_without_a_generation_is_due_and_nothing_to_adopt(bench: PostgresBench) -> None:
    bench.fetch()
    bench.set("generation = 0")
    row = bench.claim()
    assert (row.verdict, row.payload) == ("leader", None)


def test_a_publish_ends_all_backoff(bench: PostgresBench) -> None:
    row, claim = bench.lead()
    bench.set("backoff_until = now() + interval '1 h', consecutive_failures = 3")
    assert bench.publish(row, claim)
    after = bench.read(have=row.fence)
    assert (after.backoff_left, after.outcome) == (0, "ok")


@pytest.mark.parametrize("value", ["infinity", "-infinity"])
@pytest.mark.parametrize("column", TIMES)
def test_infinite_times_stall_nobody(bench: PostgresBench, column: str, value: str) -> None:
    generation = bench.fetch()
    bench.set(f"{column} = '{value}'")
    row = bench.read(have=generation)
    assert all(left < 3701 for left in (row.lease_left, row.floor_left, row.backoff_left, row.refresh_left))
    assert bench.claim().verdict == "newer"
    row, claim = bench.lead(force=True, have=generation)
    assert bench.publish(row, claim)


@pytest.mark.parametrize("number", [2**60, 2**61 - 1, 2**61, BIGINT_MAX])
def test_numbers_that_are_nobodys_clock_are_restarted(bench: PostgresBench, number: int) -> None:
    bench.fetch()
    bench.set(f"generation = {number}, fence = {number}")
    assert bench.claim().verdict == "newer"  # and never adopted; the process claims again and says why
    row, claim = bench.lead(force=True, bad=number)
    assert row.fence < 2**60
    assert bench.columns()["generation"] == 0
    assert bench.publish(row, claim)
    assert bench.columns()["generation"] == row.fence
    assert bench.claim(have=row.fence).verdict == "fresh"


def test_a_fence_alone_is_restarted_too(bench: PostgresBench) -> None:
    generation = bench.fetch()
    bench.set(f"fence = {BIGINT_MAX}")
    row, _ = bench.lead(force=True, have=generation)
    assert generation < row.fence < 2**60


def test_a_fence_just_below_the_limit_leads_to_generations_that_stay_in_use(bench: PostgresBench) -> None:
    generation = bench.fetch()
    bench.set(f"fence = {2**60 - 1}")
    row, claim = bench.lead(need=True, have=generation)
    assert row.fence == 2**60 < GENERATION_LIMIT
    assert bench.publish(row, claim)
    row, claim = bench.lead(need=True, have=2**60)
    assert bench.columns()["generation"] == 2**60  # a cold process can still adopt it
    assert row.fence == 2**60 + 1
    assert bench.publish(row, claim)
    assert bench.claim(have=2**60).verdict == "newer"


def test_full_counters_overflow_nowhere(bench: PostgresBench) -> None:
    names = ("fetch_attempt_count", "refresh_event_count", "failure_event_count", "abandoned_count")
    bench.fetch()
    full = ", ".join(f"{name} = {BIGINT_MAX}" for name in names)
    bench.set(f"{full}, consecutive_failures = {2**31 - 1}, lease_owner = gen_random_uuid()")
    row, claim = bench.lead(need=True, have=2**60)
    assert bench.fail(row, claim) is not None
    bench.set(f"{full}, consecutive_failures = {-(2**31)}, backoff_until = 'epoch'")
    row, claim = bench.lead(need=True, have=2**60)
    assert bench.fail(row, claim) == pytest.approx(2.5, abs=0.1)
    bench.set("backoff_until = 'epoch'")
    row, claim = bench.lead(need=True, have=2**60)
    assert bench.publish(row, claim)


# -- locks and isolation --------------------------------------------------------------------------------


def test_a_strangers_advisory_lock_is_got_round_without_the_gate(bench: PostgresBench) -> None:
    bench.fetch()
    with psycopg.connect(bench.dsn) as stranger:
        stranger.execute("SELECT pg_advisory_xact_lock(%s)", [advisory_key(KEY)])
        claim = claim_of(need=True, have=2**60)
        assert bench.claim(claim).verdict == "contended"
        bench.use_gate = False
        assert bench.claim(claim).verdict == "leader"


def test_the_gate_is_open_again_after_the_statement(bench: PostgresBench) -> None:
    with bench.session() as session:
        session.claim(KEY, claim_of())
        with psycopg.connect(bench.dsn) as other:
            found = other.execute("SELECT pg_try_advisory_xact_lock(%s)", [advisory_key(KEY)]).fetchone()
        assert found == (True,)


def test_a_claim_never_waits_for_a_locked_row(bench: PostgresBench) -> None:
    bench.fetch()
    with psycopg.connect(bench.dsn) as stranger:
        stranger.execute("SELECT 1 FROM public.jwt_verification_cache FOR UPDATE")
        started = time.monotonic()
        assert bench.claim(need=True, have=2**60).verdict == "contended"
        assert bench.claim(force=True, have=1).verdict == "newer"
        assert time.monotonic() - started < 2


def test_a_publish_that_waits_for_a_locked_row_ends_at_its_deadline(bench: PostgresBench) -> None:
    row, claim = bench.lead()
    with psycopg.connect(bench.dsn) as stranger:
        stranger.execute("SELECT 1 FROM public.jwt_verification_cache FOR UPDATE")
        session = bench.store.open(0.3)
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="in time"):
            session.publish(KEY, publish_of(row, claim))
        assert 0.2 < time.monotonic() - started < 2
    # The server heard that nobody waits any more.
    assert bench.columns()["refresh_event_count"] == 0
    assert bench.publish(row, claim)


@pytest.mark.parametrize("setting", ["statement_timeout", "lock_timeout"])
def test_a_timeout_of_the_databases_own_may_be_repeated(bench: PostgresBench, setting: str) -> None:
    row, claim = bench.lead()
    impatient = PostgresBench(make_conninfo(bench.dsn, options=f"-c {setting}=50"))
    with psycopg.connect(bench.dsn) as stranger:
        stranger.execute("SELECT 1 FROM public.jwt_verification_cache FOR UPDATE")
        with pytest.raises(StoreContended):
            impatient.publish(row, claim)
    assert impatient.publish(row, claim)


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
@pytest.mark.parametrize("use_gate", [True, False], ids=["advisory", "lease"])
def test_one_of_many_leads_at_every_isolation_level(pg_dsn: str, isolation: str, use_gate: bool) -> None:
    bench = PostgresBench(isolated(pg_dsn, isolation), use_gate=use_gate)
    with psycopg.connect(bench.dsn) as connection:
        assert connection.execute("SHOW transaction_isolation").fetchone() == (isolation,)
    for step in range(4):
        verdicts = _claim_at_once(bench, workers=12, need=True, have=2**60)
        assert verdicts["leader"] == 1
        assert verdicts.keys() <= {"leader", "wait", "contended"}
        assert bench.columns()["fetch_attempt_count"] == step + 1
        bench.advance(10)


def _claim_at_once(bench: Bench, *, workers: int, **changes: object) -> Counter[str]:
    barrier = threading.Barrier(workers)

    def claim(_: int) -> str:
        claim = claim_of(use_gate=bench.use_gate, **changes)
        with bench.session() as session:
            session.peek(KEY)  # so that the connection is there
            barrier.wait(10)
            try:
                return str(session.claim(KEY, claim).verdict)
            except StoreContended:
                return "contended"

    with ThreadPoolExecutor(workers) as pool:
        return Counter(pool.map(claim, range(workers)))


def test_a_serialization_failure_may_be_repeated(pg_dsn: str) -> None:
    bench = PostgresBench(isolated(pg_dsn, "serializable"))
    row, claim = bench.lead()
    with psycopg.connect(pg_dsn) as stranger, ThreadPoolExecutor(1) as pool:
        stranger.execute("UPDATE public.jwt_verification_cache SET etag = 'x'")
        publishing = pool.submit(bench.publish, row, claim)
        while "Lock" not in activity(pg_dsn, "wait_event_type"):
            time.sleep(0.01)
        stranger.commit()
        with pytest.raises(StoreContended):
            publishing.result(5)
    assert bench.publish(row, claim)


def test_nothing_is_left_open_between_statements(bench: PostgresBench) -> None:
    with bench.session() as session:
        row = session.claim(KEY, claim_of())
        assert row.verdict == "leader"
        session.peek(KEY)
        assert activity(bench.dsn, "state") == ["idle"]
    assert nobody_is_connected(bench.dsn)


# -- what an operator has to mend -----------------------------------------------------------------------


@pytest.fixture
def role(pg_dsn: str) -> Iterator[Callable[[str], str]]:
    """Makes a role with the privileges given on the table; returns the DSN of the database for it."""
    name = f"skeldir_test_role_{conninfo_to_dict(pg_dsn)['dbname']}"
    identifier = sql.Identifier(name)
    table = sql.SQL("public.jwt_verification_cache")

    def make(privileges: str) -> str:
        with psycopg.connect(pg_dsn) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(identifier))
            if privileges:
                grant = sql.SQL("GRANT {} ON {} TO {}")
                connection.execute(grant.format(sql.SQL(privileges), table, identifier))
        return make_conninfo(pg_dsn, user=name)

    yield make
    with psycopg.connect(pg_dsn) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(identifier))
        connection.execute(sql.SQL("DROP ROLE {}").format(identifier))


def test_select_and_update_are_enough_once_the_rows_are_there(
    pg_dsn: str, role: Callable[[str], str]
) -> None:
    bench = PostgresBench(role("SELECT, UPDATE"))
    with pytest.raises(ConfigurationError, match="skeldir-jwt migrate --provision"):
        bench.claim()
    assert provision(pg_dsn, [KEY]) == 1
    row, claim = bench.lead()
    assert bench.publish(row, claim)
    assert bench.read().generation == row.fence


@pytest.mark.parametrize("privileges", ["", "SELECT", "INSERT, UPDATE"])
def test_a_missing_privilege_is_named(pg_dsn: str, role: Callable[[str], str], privileges: str) -> None:
    provision(pg_dsn, [KEY])
    with pytest.raises(ConfigurationError, match="SELECT and UPDATE"):
        PostgresBench(role(privileges)).claim()


def test_a_missing_table_is_a_migration_that_was_not_run(new_database: Callable[[], str]) -> None:
    bench = PostgresBench(new_database())
    with bench.session() as session:
        read = Read(force=False, need=False, have=0, bad=-1, floor=FLOOR, refresh=REFRESH)
        for call in (
            lambda: session.claim(KEY, claim_of()),
            lambda: session.read(KEY, read),
            lambda: session.peek(KEY),
        ):
            with pytest.raises(ConfigurationError, match="skeldir-jwt migrate"):
                call()


def test_a_missing_column_is_a_migration_that_was_not_run(new_database: Callable[[], str]) -> None:
    bench = PostgresBench(new_database())
    bench.execute("CREATE TABLE public.jwt_verification_cache (source_key text PRIMARY KEY, jwks jsonb)")
    with pytest.raises(ConfigurationError, match="skeldir-jwt migrate"):
        bench.claim()


def test_a_replica_is_a_wrong_connection_string(pg_dsn: str) -> None:
    bench = PostgresBench(make_conninfo(pg_dsn, options="-c default_transaction_read_only=on"))
    with pytest.raises(ConfigurationError, match="read-only"):
        bench.claim()


def test_values_that_the_table_refuses_are_no_crash(bench: PostgresBench) -> None:
    row, claim = bench.lead()
    for changes in ({"payload": b"x" * 262_145}, {"etag": "a\0b"}, {"etag": "\ud800"}):
        with pytest.raises(StoreUnavailable):
            bench.publish(row, claim, **changes)
    assert bench.publish(row, claim, payload=b"x" * 262_144)


def test_a_row_deleted_meanwhile_comes_back(bench: PostgresBench) -> None:
    row, claim = bench.lead()
    bench.execute("DELETE FROM public.jwt_verification_cache")
    assert not bench.publish(row, claim)
    assert bench.fail(row, claim) is None
    assert bench.claim().verdict == "leader"


# -- how it is reached ----------------------------------------------------------------------------------


def test_connections_carry_the_librarys_name(bench: PostgresBench) -> None:
    with bench.session() as session:
        session.peek(KEY)
        assert activity(bench.dsn, "application_name") == ["skeldir_jwt_mw"]


def test_the_connection_strings_own_name_goes_first(bench: PostgresBench) -> None:
    named = PostgresBench(make_conninfo(bench.dsn, application_name="orders"))
    with named.session() as session:
        session.peek(KEY)
        assert activity(bench.dsn, "application_name") == ["orders"]


def test_nothing_connects_before_the_first_statement(bench: PostgresBench) -> None:
    with bench.session():
        assert activity(bench.dsn, "pid") == []


def test_one_session_is_one_connection(bench: PostgresBench) -> None:
    with bench.session() as session:
        for _ in range(3):
            session.peek(KEY)
        assert len(activity(bench.dsn, "pid")) == 1
    assert nobody_is_connected(bench.dsn)


def test_a_callable_is_asked_before_every_connection(pg_dsn: str) -> None:
    asked: list[None] = []

    def conninfo() -> str:
        asked.append(None)
        return pg_dsn

    store = PostgresStore(conninfo)
    assert asked == []
    for expected in (1, 2):
        session = store.open(5.0)
        session.peek(KEY)
        session.peek(KEY)
        session.close()
        assert len(asked) == expected


def test_what_a_callable_raises_is_not_told_on() -> None:
    def conninfo() -> str:
        raise RuntimeError("password s3cret has expired")

    with pytest.raises(StoreUnavailable, match="RuntimeError") as caught:
        PostgresStore(conninfo).open(1.0).peek(KEY)
    assert "s3cret" not in str(caught.value)


def test_a_callable_that_returns_nonsense_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="mysql"):
        PostgresStore(lambda: "mysql://db/app").open(1.0).peek(KEY)


def test_a_connection_that_comes_too_late_is_closed_again(pg_dsn: str) -> None:
    release = threading.Event()

    def conninfo() -> str:
        release.wait(5)
        return pg_dsn

    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="in time"):
        PostgresStore(conninfo).open(0.1).peek(KEY)
    assert time.monotonic() - started < 2
    release.set()
    calls = [thread for thread in threading.enumerate() if thread.name == "skeldir-jwt-call"]
    for thread in calls:
        thread.join(5)
    assert nobody_is_connected(pg_dsn)


def test_a_session_is_over_at_its_deadline(bench: PostgresBench) -> None:
    session = bench.store.open(0.2)
    session.peek(KEY)
    time.sleep(0.25)
    with pytest.raises(StoreUnavailable, match="in time"):
        session.peek(KEY)
    assert nobody_is_connected(bench.dsn)


def test_a_session_connects_again_after_a_failed_statement(bench: PostgresBench) -> None:
    with bench.session() as session:
        session.peek(KEY)
        (pid,) = activity(bench.dsn, "pid")
        with psycopg.connect(bench.dsn, autocommit=True) as killer:
            killer.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        with pytest.raises(StoreContended):
            session.peek(KEY)
        assert session.claim(KEY, claim_of()).verdict == "leader"


def test_too_many_connections_may_be_repeated(pg_dsn: str, role: Callable[[str], str]) -> None:
    bench = PostgresBench(role("SELECT, INSERT, UPDATE"))
    name = sql.Identifier(str(conninfo_to_dict(bench.dsn)["user"]))
    with psycopg.connect(pg_dsn) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(name))
    with bench.session() as first:
        first.peek(KEY)
        with pytest.raises(StoreContended):
            bench.claim()
    assert nobody_is_connected(pg_dsn)
    assert bench.claim().verdict == "leader"


def test_statements_of_one_session_may_go_to_different_server_connections(pooled_dsn: str) -> None:
    bench = PostgresBench(pooled_dsn)
    for _ in range(3):
        assert _claim_at_once(bench, workers=16, need=True, have=2**60)["leader"] == 1
        bench.advance(10)


def test_a_claim_sends_no_prepared_statement(bench: PostgresBench, pg_dsn: str) -> None:
    """PgBouncer hands the next statement to a connection that knows nothing of it."""
    with bench.session() as session:
        for _ in range(12):
            session.claim(KEY, claim_of(need=True))
        connection = session._connection._connection  # type: ignore[attr-defined]
        assert connection.execute("SELECT name FROM pg_prepared_statements").fetchall() == []


def test_two_stores_are_one_fleet(pooled_database: str, pooled_dsn: str) -> None:
    direct, pooled = PostgresBench(pooled_database), PostgresBench(pooled_dsn)
    row, claim = direct.lead()
    assert pooled.claim().verdict == "wait"
    assert pooled.publish(row, claim)
    assert direct.claim().verdict == "newer"


def test_the_reason_is_kept_as_evidence(bench: PostgresBench) -> None:
    row = bench.claim(reason="cold")
    assert row.last_refresh_reason is None
    assert bench.read().last_refresh_reason == "cold"
    assert bench.claim(replace(claim_of(), reason="manual")).last_refresh_reason == "cold"
