"""Keys come and go: scheduled and forced refreshes, revocation, several issuers, services and roles."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from scene import ONE_FETCH, TABLE, Counted, Scene, another_policy, assert_all_verified, errors, until

from skeldir_jwt_mw import Issuer
from skeldir_jwt_mw.migrate import provision
from skeldir_jwt_mw.testing.issuer import LoopbackIssuer
from skeldir_jwt_mw.testing.postgres import EmbeddedPostgres


def test_a_revoked_key_is_gone_from_busy_and_idle_workers(scene: Scene) -> None:
    interval, check, jitter = 1.5, 0.4, 0.1
    scene.start(6, refresh_interval=interval, check_interval=check, jitter=jitter, floor=0.5)
    busy, idle = range(3), range(3, 6)
    revoked_kid = scene.provider.kids[0]
    revoked = scene.provider.token()
    scene.provider.rotate()
    good = scene.provider.token()
    assert_all_verified(scene.verify(good, revoked), 6)
    scene.provider.retire(revoked_kid)
    retired_at = time.monotonic()

    def refused(outcomes_of: range) -> bool:
        outcomes = scene.verify(good, revoked, workers=outcomes_of)
        assert errors(outcomes[::2]) == {None}
        return errors(outcomes[1::2]) == {"unknown_kid"}

    until(lambda: refused(busy))
    took = time.monotonic() - retired_at
    assert took < interval + jitter + check + 1.5  # a fetch, on a machine that is busy

    # Those that had nothing to do meanwhile do not serve it either.
    until(lambda: time.monotonic() > retired_at + interval + jitter + check)
    assert errors(scene.verify(revoked, workers=idle)) == {"unknown_kid"}


def test_an_idle_worker_looks_at_the_row_before_it_serves(
    breakable_scene: Scene, breakable: EmbeddedPostgres
) -> None:
    scene, interval = breakable_scene, 1.0
    scene.start(2, refresh_interval=interval, check_interval=0.5)
    revoked = scene.warm()
    warm_at = time.monotonic()
    scene.provider.rotate(keep_previous=False)
    assert scene.fleet.ask("refresh", workers=[0]) == [None]
    until(lambda: time.monotonic() > warm_at + interval + 0.1)
    with breakable.suspended():  # long enough to tell who waits from who does not
        scene.fleet.start_verify(revoked, workers=[1])
        time.sleep(0.4)
    assert errors(scene.fleet.collect(workers=[1])) == {"unknown_kid"}


def test_a_scheduled_refresh_does_not_make_a_new_key_wait(scene: Scene) -> None:
    scene.start(3, floor=30.0, check_interval=0.2)
    good = scene.warm()
    scene.change("next_refresh_at = now()")
    until(lambda: errors(scene.verify(good)) == {None} and scene.row()["last_refresh_reason"] == "scheduled")
    until(lambda: scene.row()["lease_owner"] is None)
    assert scene.row()["floor_until"].year == 1970
    before = scene.counted()
    scene.provider.rotate()
    assert_all_verified(scene.verify(scene.provider.token()), 3)
    assert scene.since(before) == ONE_FETCH


def test_who_waits_for_a_scheduled_refresh_in_vain_starts_a_forced_one(scene: Scene) -> None:
    scene.start(3, floor=30.0, check_interval=0.2)
    good = scene.warm()
    scene.provider.hang()
    before = scene.counted()
    scene.change("next_refresh_at = now()")
    until(lambda: errors(scene.verify(good)) == {None} and scene.since(before).asked == 1)
    scene.provider.rotate()  # too late for the answer that is on its way
    token = scene.provider.token()
    scene.fleet.start_verify(token, workers=range(3))
    time.sleep(0.2)
    scene.provider.up()
    assert_all_verified(scene.fleet.collect(workers=range(3)), 3)
    assert scene.since(before) == Counted(attempts=2, refreshes=2, asked=2)


def test_a_refresh_in_one_worker_is_adopted_by_the_others_within_a_check_interval(scene: Scene) -> None:
    check = 0.8
    scene.start(4, check_interval=check)
    good = scene.warm()
    before = scene.counted()
    retired = scene.provider.kids[0]
    scene.provider.rotate()
    assert scene.fleet.ask("refresh", workers=[0]) == [None]
    refreshed_at = time.monotonic()
    assert scene.since(before) == ONE_FETCH
    generation = scene.row()["generation"]
    assert scene.statuses([0])[0]["generation"] == generation

    def adopted() -> bool:
        assert errors(scene.verify(good)) == {None}
        return {status["generation"] for status in scene.statuses()} == {generation}

    until(adopted)
    assert time.monotonic() - refreshed_at < check + 1.0
    assert scene.since(before) == ONE_FETCH
    assert all(len(status["kids"]) == 2 and retired in status["kids"] for status in scene.statuses())


def test_refreshing_in_every_worker_at_once_is_one_fetch(scene: Scene) -> None:
    scene.start(6, floor=20.0)
    scene.warm()
    before = scene.counted()
    scene.provider.slow(0.3)
    scene.provider.rotate()
    assert scene.fleet.ask("refresh", workers=range(6)) == [None] * 6
    assert scene.since(before) == ONE_FETCH
    assert {status["generation"] for status in scene.statuses()} == {scene.row()["generation"]}


def test_keys_are_not_taken_to_be_newer_than_the_start_of_their_fetch(scene: Scene) -> None:
    scene.start(2)
    scene.warm()
    scene.provider.slow(0.5)
    scene.provider.rotate()
    assert_all_verified(scene.verify(scene.provider.token()), 2)
    row = scene.row()
    asked_at = scene.provider.requests[-1].at - time.monotonic() + time.time()
    assert row["fetched_at"].timestamp() <= asked_at + 0.001  # two clocks of one machine
    assert row["fetched_at"] == row["claimed_at"]
    ages = [status["age"] for status in scene.statuses()]
    assert min(ages) >= time.time() - asked_at - 0.1


def test_a_forced_fetch_asks_for_everything_and_a_scheduled_one_for_what_has_changed(scene: Scene) -> None:
    scene.start(1, check_interval=0.1)
    good = scene.warm()
    assert errors(scene.verify(scene.provider.stranger_token())) == {"unknown_kid"}
    scene.change("next_refresh_at = now()")
    until(lambda: errors(scene.verify(good)) == {None} and len(scene.provider.requests) == 3)
    cold, forced, scheduled = (request.headers for request in scene.provider.requests)
    assert not cold.keys() & {"if-none-match", "if-modified-since"}
    assert not forced.keys() & {"if-none-match", "if-modified-since"}
    assert forced["cache-control"] == "no-cache"
    assert scheduled["if-none-match"]


# -- more than one ---------------------------------------------------------------------------------------


def test_several_issuers_in_one_fleet_are_one_fetch_each(scene: Scene) -> None:
    with LoopbackIssuer() as second, LoopbackIssuer(path="/tenant") as third:
        others = tuple(
            Issuer(
                provider.issuer,
                audience=provider.audience,
                jwks_url=provider.jwks_url,
                allow_http=True,
                allow_private_hosts=True,
            )
            for provider in (second, third)
        )
        providers = (scene.provider, second, third)
        scene.start(6, others=others)
        assert_all_verified(scene.verify(*(provider.token() for provider in providers)), 6)
        assert [provider.fetches for provider in providers] == [1, 1, 1]
        second.rotate()
        assert_all_verified(scene.verify(*(provider.token() for provider in providers)), 6)
        assert [provider.fetches for provider in providers] == [1, 2, 1]
        third.down()
        third.rotate()
        unknown = third.token()
        assert errors(scene.verify(unknown)) == {"keys_unavailable/failed"}
        assert_all_verified(scene.verify(scene.provider.token(), second.token()), 6)


def test_the_floor_of_an_app_holds_for_an_app_with_a_shorter_one(scene: Scene) -> None:
    scene.start(2, floor=20.0)
    patient = scene.service
    scene.restart([1], another_policy(patient, floor=0.2))
    scene.warm()
    before = scene.counted()
    assert errors(scene.verify(scene.provider.stranger_token(), workers=[0])) == {"unknown_kid"}
    assert scene.since(before) == ONE_FETCH
    for _ in range(3):
        time.sleep(0.3)
        assert errors(scene.verify(scene.provider.stranger_token(), workers=[1])) == {"unknown_kid"}
    assert scene.since(before) == ONE_FETCH


def test_two_services_whose_seal_keys_differ_do_not_stall_each_other(scene: Scene) -> None:
    scene.start(4, floor=0.3, check_interval=0.3, backoff_base=0.3, refresh_interval=5.0)
    ours = scene.service
    scene.restart([2, 3], replace(ours, seal_keys=(secrets.token_bytes(32),)))
    for _ in range(3):
        until(lambda: errors(scene.verify(scene.provider.token())) == {None}, within=10.0)
        scene.provider.rotate()
        token = scene.provider.token()
        until(lambda: errors(scene.verify(token)) == {None}, within=10.0)  # noqa: B023  asked at once
    # They fetch in turns, each at most once per floor; who may not replace the row fetches for itself.
    counted = scene.counted()
    assert counted.attempts <= counted.asked <= 40


@contextmanager
def role(scene: Scene, *privileges: str) -> Iterator[str]:
    """A role that may do no more than this to the table; yields the DSN for it."""
    name = sql.Identifier(f"fleet_{conninfo_to_dict(scene.dsn)['dbname']}")
    with scene.database() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        for privilege in privileges:
            connection.execute(sql.SQL(f"GRANT {privilege} ON {TABLE} TO {{}}").format(name))
    try:
        yield make_conninfo(scene.dsn, user=name.as_string().strip('"'))
    finally:
        with scene.database() as connection:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(name))
            connection.execute(sql.SQL("DROP ROLE {}").format(name))


def test_a_role_that_may_only_read_and_update_works_once_rows_are_provisioned(scene: Scene) -> None:
    columns = (
        "abandoned_count, backoff_set_at, backoff_until, claimed_at, consecutive_failures, etag, expires_at,"
        " failure_event_count, fence, fetch_attempt_count, fetched_at, floor_set_at, floor_until, generation,"
        " last_error,"
        " last_modified, last_refresh_reason, lease_owner, lease_until, next_refresh_at, payload,"
        " refresh_event_count, seal"
    )
    with role(scene, "SELECT", f"UPDATE ({columns})") as dsn:
        scene.start(4, dsn=dsn, backoff_base=0.1)
        token = scene.provider.token()
        assert errors(scene.verify(token)) == {"keys_unavailable/store"}  # no row, and none may be made
        assert provision(scene.dsn, [scene.source_key()]) == 1
        until(lambda: errors(scene.verify(token)) == {None})
        before = scene.counted()
        scene.provider.rotate()
        assert_all_verified(scene.verify(scene.provider.token()), 4)
        assert scene.since(before) == ONE_FETCH
        scene.provider.rotate()
        scene.provider.down()
        until(lambda: "keys_unavailable/failed" in errors(scene.verify(scene.provider.token())))
        assert scene.since(before).failures >= 1
