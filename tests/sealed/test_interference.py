"""Changes made while a worker fetches, and by somebody who never stops making them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from attack import ATTACKER, CONTENT, Attack, document, error_of, until
from psycopg.rows import dict_row
from tampering import Tamper, both, copies, does, sets

THEIRS = document(ATTACKER)
FETCH = 0.3  # seconds that the provider takes

WHILE_ONE_FETCHES: dict[str, Tamper] = {
    "the fence raised": sets("fence = fence + 1"),
    "the fence lowered": sets("fence = generation"),
    "the owner removed": sets("lease_owner = NULL"),
    "the owner replaced": sets("lease_owner = gen_random_uuid()"),
    "the lease ended": sets("lease_until = 'epoch'"),
    "the lease without end": sets("lease_until = 'infinity'"),
    "the claim made later": sets("claimed_at = 'infinity'"),
    "their document, ahead": sets("payload = %s, generation = fence + 7, fence = fence + 7", THEIRS),
    "their document, under the fence of the fetch": sets("payload = %s, generation = fence", THEIRS),
    "the seal removed": sets("seal = NULL"),
    "the row deleted": does("DELETE FROM public.jwt_verification_cache WHERE source_key = %(ours)s"),
    "the row deleted and made anew": both(
        does("DELETE FROM public.jwt_verification_cache WHERE source_key = %(ours)s"),
        does("INSERT INTO public.jwt_verification_cache (source_key) VALUES (%(ours)s)"),
    ),
    "their row in its place": copies(CONTENT, theirs=True),
    "an older row in its place": copies(CONTENT, source="kept"),
    "the floor's moment made the claim's": sets("floor_set_at = claimed_at"),
    "a backoff of ten hours": sets("backoff_until = now() + interval '10 hours', consecutive_failures = 99"),
}


@pytest.mark.parametrize("name", WHILE_ONE_FETCHES)
def test_r55_a_row_changed_between_claim_and_publish_brings_no_key_into_use(
    attack: Attack, name: str
) -> None:
    first, second = attack.running
    attack.idp.rotate()
    new = attack.idp.token()
    attack.idp.slow(FETCH)
    before = attack.idp.fetches
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(error_of, first, new)
        until(lambda: attack.idp.fetches > before)
        WHILE_ONE_FETCHES[name](attack)
        cold = attack.worker()
        for worker in (second, cold):
            attack.assert_nothing_forged_gets_in(worker, removed=worker is second)
        attack.assert_known_keys_verify([second])
        # It has the key from the provider itself, or is told to come back: whatever became of the row.
        assert asking.result() in (None, "keys_unavailable/row_refused", "keys_unavailable/running")
    attack.idp.slow(0)
    attack.assert_it_recovers([first, second, cold], removed=False)


@contextmanager
def rewriting(attack: Attack, *statements: str, pause: float = 0.0) -> Iterator[Callable[[], int]]:
    """Somebody runs the statements over and over; yields how often they have."""
    over = threading.Event()
    rounds = 0

    def rewrite() -> None:
        nonlocal rounds
        values = {"ours": attack.source_key, "theirs": attack.their_source_key, "document": THEIRS}
        with psycopg.connect(attack.dsn, autocommit=True, row_factory=dict_row) as connection:
            while not over.wait(pause):
                for statement in statements:
                    with contextlib.suppress(psycopg.errors.CheckViolation):  # the fence has moved on
                        connection.execute(statement.encode(), values)
                rounds += 1

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        yield lambda: rounds
    finally:
        over.set()
        thread.join()


OURS = "WHERE source_key = %(ours)s"
TABLE = "public.jwt_verification_cache"
WITHOUT_END: dict[str, list[str]] = {
    "their document": [
        f"UPDATE {TABLE} SET payload = %(document)s, generation = fence + 1, fence = fence + 1 {OURS}"
    ],
    "deletion": [f"DELETE FROM {TABLE} {OURS}"],
    "deletion and a row of their own": [
        f"DELETE FROM {TABLE} {OURS}",
        f"INSERT INTO {TABLE} (source_key, payload, generation, fence) VALUES (%(ours)s, %(document)s, 9, 9)"
        " ON CONFLICT DO NOTHING",
    ],
    "a lease": [
        f"UPDATE {TABLE} SET lease_owner = gen_random_uuid(), claimed_at = now(),"
        f" lease_until = now() + interval '59 s' {OURS}"
    ],
    "floor and backoff": [
        f"UPDATE {TABLE} SET floor_set_at = now(), floor_until = now() + interval '59 s',"
        f" backoff_set_at = now(), backoff_until = now() + interval '1 h', consecutive_failures = 5 {OURS}"
    ],
    "fences": [f"UPDATE {TABLE} SET fence = fence + 1 {OURS}"],
    "generations": [f"UPDATE {TABLE} SET generation = generation + 1, fence = fence + 1 {OURS}"],
    "their whole row": [
        f"UPDATE {TABLE} SET (payload, seal, generation, fence) ="
        f" (SELECT payload, seal, generation, fence FROM {TABLE} WHERE source_key = %(theirs)s) {OURS}"
    ],
}


@pytest.mark.parametrize("name", WITHOUT_END)
def test_r55_who_goes_on_rewriting_the_row_denies_new_keys_at_most_and_no_known_one(
    attack: Attack, name: str
) -> None:
    workers = [*attack.running, attack.worker()]
    with rewriting(attack, *WITHOUT_END[name]) as rounds:
        until(lambda: rounds() > 0)
        attack.idp.rotate()
        new = attack.idp.token()
        ends = time.monotonic() + 1.0
        while time.monotonic() < ends:
            for worker in workers:
                attack.assert_nothing_forged_gets_in(worker)
            attack.assert_known_keys_verify()
            answer = error_of(attack.running[0], new)  # accepted, or put off for as long as they go on
            assert answer in (None, "unknown_kid") or answer.startswith("keys_unavailable/")
        assert rounds() > 10
    # The deadlines that they have left are those of the test below: a minute, or an hour for a backoff.
    attack.execute(
        f"UPDATE {TABLE} SET lease_until = 'epoch', floor_until = 'epoch', backoff_until = 'epoch' {OURS}"
    )
    attack.assert_it_recovers([attack.worker(), attack.worker()])


@pytest.mark.parametrize(
    "lock",
    [
        f"SELECT 1 FROM {TABLE} {OURS} FOR UPDATE",
        f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE",
        "SELECT pg_advisory_xact_lock(n) FROM generate_series(-9, 9) n",
    ],
    ids=["the row", "the table", "advisory numbers"],
)
def test_a_lock_that_is_never_let_go_denies_new_keys_at_most(attack: Attack, lock: str) -> None:
    attack.idp.rotate()
    new = attack.idp.token()
    with attack.another_connection() as connection:
        connection.execute(lock.encode(), {"ours": attack.source_key} if "%(ours)s" in lock else None)
        started = time.monotonic()
        put_off = error_of(attack.running[0], new)
        assert put_off is None or put_off.startswith("keys_unavailable/")
        assert time.monotonic() - started < attack.policy["wait_budget"] + 2.0
        attack.assert_known_keys_verify()
        for worker in attack.running:
            attack.assert_nothing_forged_gets_in(worker)
        attack.assert_known_keys_verify()
        connection.rollback()
    attack.assert_it_recovers([*attack.running, attack.worker()])
