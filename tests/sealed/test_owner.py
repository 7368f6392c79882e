"""Somebody who owns the table, and so can change what it is: refused all the same, and nothing but denied."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from attack import ATTACKER, Attack, document, error_of

from skeldir_jwt_mw.migrate import migrate
from skeldir_jwt_mw.testing import LoopbackIssuer

TABLE = "public.jwt_verification_cache"
THEIRS = document(ATTACKER).hex()
TIMES = (
    "fetched_at",
    "next_refresh_at",
    "expires_at",
    "claimed_at",
    "lease_until",
    "floor_until",
    "floor_set_at",
    "backoff_until",
    "backoff_set_at",
)

# A trigger that puts the attacker's document into whatever is published.
TRIGGER = f"""
CREATE FUNCTION swap() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN NEW.payload := '\\x{THEIRS}'; RETURN NEW; END$$;
CREATE TRIGGER swap BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION swap();
"""
# One that keeps everybody from writing anything, and reports that it was written.
SWALLOW = f"""
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER swallow BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION swallow();
"""
TWICE = f"""
ALTER TABLE {TABLE} DROP CONSTRAINT jwt_verification_cache_pkey;
INSERT INTO {TABLE} SELECT * FROM {TABLE};
UPDATE {TABLE} SET payload = '\\x{THEIRS}', generation = fence + 1, fence = fence + 1
    WHERE ctid IN (SELECT max(ctid) FROM {TABLE} GROUP BY source_key);
"""
VIEW = f"""
ALTER TABLE {TABLE} RENAME TO hidden;
CREATE VIEW {TABLE} AS SELECT source_key, '\\x{THEIRS}'::bytea AS payload, seal, etag, last_modified,
    generation + 1 AS generation, fetched_at, next_refresh_at, expires_at, fence + 1 AS fence, lease_owner,
    claimed_at, lease_until, floor_until, backoff_until, consecutive_failures, last_error,
    last_refresh_reason, fetch_attempt_count, refresh_event_count, failure_event_count, abandoned_count,
    floor_set_at, backoff_set_at FROM public.hidden;
"""
NO_LIMITS = "DROP CONSTRAINT jwt_verification_cache_limits"
HUGE = "repeat('x', 1048576)"
CHANGES = {
    "a trigger that swaps what is published": TRIGGER,
    "a trigger that swallows writes": SWALLOW,
    "the row twice, once with their document": TWICE,
    "a view in the table's place": VIEW,
    "the document as text": f"ALTER TABLE {TABLE} ALTER payload TYPE text USING encode(payload, 'escape')",
    "the document as JSON": f"ALTER TABLE {TABLE} DROP CONSTRAINT jwt_verification_cache_payload_check,"
    " ALTER payload TYPE jsonb USING convert_from(payload, 'UTF8')::jsonb",
    "the seal as text": f"ALTER TABLE {TABLE} ALTER seal TYPE text USING encode(seal, 'hex')",
    "the ETag as bytes": f"ALTER TABLE {TABLE} ALTER etag TYPE bytea USING etag::bytea",
    "the ETag as a number": f"ALTER TABLE {TABLE} {NO_LIMITS}, ALTER etag TYPE int USING 7",
    "texts of a mebibyte": f"ALTER TABLE {TABLE} {NO_LIMITS}; UPDATE {TABLE} SET etag = {HUGE},"
    f" last_modified = {HUGE}, last_error = {HUGE}, last_refresh_reason = {HUGE}, seal = {HUGE}::bytea",
    "the generation as text": f"ALTER TABLE {TABLE} DROP CONSTRAINT jwt_verification_cache_check,"
    " ALTER generation DROP DEFAULT, ALTER generation TYPE text",
    "the generation as a fraction": f"ALTER TABLE {TABLE} DROP CONSTRAINT jwt_verification_cache_check,"
    " ALTER generation TYPE numeric USING generation + 0.5",
    "the generation as NULL": f"ALTER TABLE {TABLE} ALTER generation DROP NOT NULL;"
    f" UPDATE {TABLE} SET generation = NULL",
    "the fence as NULL": f"ALTER TABLE {TABLE} ALTER fence DROP NOT NULL; UPDATE {TABLE} SET fence = NULL",
    "all times as NULL": f"ALTER TABLE {TABLE} {', '.join(f'ALTER {name} DROP NOT NULL' for name in TIMES)};"
    f" UPDATE {TABLE} SET {', '.join(f'{name} = NULL' for name in TIMES)}",
    "the times without a zone": f"ALTER TABLE {TABLE} ALTER expires_at DROP DEFAULT,"
    " ALTER expires_at TYPE timestamp",
    "no seal column": f"ALTER TABLE {TABLE} DROP COLUMN seal",
    "no document column": f"ALTER TABLE {TABLE} DROP COLUMN payload",
    "no table": f"DROP TABLE {TABLE}",
}


@pytest.fixture
def owned(new_database: Callable[[], str]) -> Iterator[Attack]:
    """An attack in a database of its own, since the table does not come out of it whole."""
    dsn = new_database()
    migrate(dsn)
    with LoopbackIssuer() as idp, LoopbackIssuer() as theirs:
        attack = Attack(dsn, idp, theirs, wait_budget=0.5)
        yield attack
        attack.close()


@pytest.mark.parametrize("name", CHANGES)
def test_r55_who_changes_the_table_itself_denies_service_and_forges_nothing(owned: Attack, name: str) -> None:
    with psycopg.connect(owned.dsn) as connection:
        connection.execute(CHANGES[name].encode())
    cold = owned.worker()
    owned.idp.rotate()
    new = owned.idp.token()
    for _ in range(4):
        for worker in (*owned.running, cold):
            owned.assert_nothing_forged_gets_in(worker)
            answer = error_of(worker, new)
            assert answer in (None, "unknown_kid") or answer.startswith("keys_unavailable/")
        owned.assert_known_keys_verify()
    # What it was is all that is needed.
    with psycopg.connect(owned.dsn) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    migrate(owned.dsn)
    owned.assert_it_recovers([*owned.running, cold])
