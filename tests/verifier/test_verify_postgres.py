"""Verifiers over a real database: sharing, environment, a missing table, a database that is away."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from verifying import (
    Ask,
    MakeVerifier,
    generation_of,
    issuer_of,
    outage,
    policy_of,
    refusal,
    settle,
    status_of,
)

from skeldir_jwt_mw import ConfigurationError, PostgresStore, Verifier
from skeldir_jwt_mw.migrate import migrate, provision
from skeldir_jwt_mw.testing import LoopbackIssuer
from skeldir_jwt_mw.testing.postgres import EmbeddedPostgres

KEY = b"k" * 32


def row(dsn: str) -> dict[str, Any]:
    """The only row's counters and outcome."""
    with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as connection:
        (found,) = connection.execute("SELECT * FROM public.jwt_verification_cache").fetchall()
    return found


def shared(dsn: str, **options: Any) -> dict[str, Any]:
    return {"store": PostgresStore(dsn, **options), "seal_keys": [KEY]}


def test_two_verifiers_share_one_row(idp: LoopbackIssuer, make: MakeVerifier, pg_dsn: str, ask: Ask) -> None:
    first, second = (make(issuer_of(idp), **shared(pg_dsn)) for _ in range(2))
    assert ask(first, idp.token()) is not None
    assert ask(second, idp.token()).generation == generation_of(first)
    new = idp.rotate()
    assert ask(first, idp.token()).kid == ask(second, idp.token()).kid == new
    assert idp.fetches == 2
    found = row(pg_dsn)
    assert (found["fetch_attempt_count"], found["refresh_event_count"]) == (2, 2)
    assert found["last_refresh_reason"] == "unknown_kid"


def test_another_namespace_is_another_row(idp: LoopbackIssuer, make: MakeVerifier, pg_dsn: str) -> None:
    for namespace in ("orders", "billing"):
        make(issuer_of(idp), **shared(pg_dsn, namespace=namespace)).warm()
    assert idp.fetches == 2


def test_r55_a_row_changed_by_hand_is_replaced_and_its_keys_are_never_used(
    idp: LoopbackIssuer, make: MakeVerifier, pg_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    with LoopbackIssuer() as attacker:
        make(issuer_of(idp), **shared(pg_dsn)).warm()
        forged = idp.token(key=attacker.key(), iat=int(time.time()) - 180)
        with psycopg.connect(pg_dsn) as connection:
            connection.execute(
                "UPDATE public.jwt_verification_cache SET payload = %s, generation = generation + 1,"
                " fence = fence + 1",
                [json.dumps(attacker.jwks()).encode()],
            )
        second = make(issuer_of(idp), **shared(pg_dsn))
        assert refusal(second, forged) == "unknown_kid"
        assert second.verify(idp.token()).subject == "user-1"
        assert "tampered with" in caplog.text
        assert row(pg_dsn)["last_refresh_reason"] == "tampered"


def test_r55_a_row_changed_by_hand_that_cannot_be_replaced_yet_is_told(
    idp: LoopbackIssuer, make: MakeVerifier, pg_dsn: str
) -> None:
    make(issuer_of(idp), **shared(pg_dsn)).refresh()  # and the next forced fetch is a floor away
    with psycopg.connect(pg_dsn) as connection:
        connection.execute("UPDATE public.jwt_verification_cache SET payload = %s", [b'{"keys": []}'])
    second = make(issuer_of(idp), policy=policy_of(floor=60.0), **shared(pg_dsn))
    assert outage(second, idp.token()).reason == "row_refused"
    assert (
        status_of(second)["last_error"]
        == "the shared row was tampered with: its seal or its content is not good"
    )


def test_a_missing_table_is_for_the_operator_and_unavailable_for_requests(
    idp: LoopbackIssuer,
    make: MakeVerifier,
    new_database: Callable[[], str],
    ask: Ask,
    caplog: pytest.LogCaptureFixture,
) -> None:
    dsn = new_database()
    verifier = make(issuer_of(idp), **shared(dsn), policy=policy_of(backoff_base=0.1, floor=0.1))
    for command in (verifier.warm, verifier.refresh):
        with pytest.raises(ConfigurationError, match="skeldir-jwt migrate"):
            command()
    assert outage(verifier, idp.token(), ask).reason == "store"
    assert "skeldir-jwt migrate" in caplog.text
    assert idp.fetches == 0
    migrate(dsn)
    time.sleep(status_of(verifier)["gate"]["closed_for"] + 0.01)
    assert ask(verifier, idp.token()).subject == "user-1"


def test_with_the_database_down_the_provider_is_not_asked_and_keys_serve_on(
    idp: LoopbackIssuer, make: MakeVerifier, pg_dsn: str, ask: Ask
) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    dsn = pg_dsn
    verifier = make(issuer_of(idp), store=PostgresStore(lambda: dsn), seal_keys=[KEY])
    known = ask(verifier, idp.token())
    dsn = nowhere
    idp.rotate()
    error = outage(verifier, idp.token(), ask)
    assert (error.reason, idp.fetches) == ("store", 1)
    assert ask(verifier, idp.token(kid=known.kid)).subject == "user-1"
    assert status_of(verifier)["last_error"]
    cold = make(issuer_of(idp), store=PostgresStore(nowhere), seal_keys=[KEY])
    assert outage(cold, idp.token(), ask).reason == "store"
    assert refusal(cold, idp.token(expires_in=-60), ask) == "expired"
    assert idp.fetches == 1


def test_with_the_database_down_fetch_asks_the_provider_once_per_floor(
    idp: LoopbackIssuer, make: MakeVerifier, ask: Ask
) -> None:
    verifier = make(
        issuer_of(idp),
        store=PostgresStore("postgresql://nobody@127.0.0.1:1/nothing"),
        seal_keys=[KEY],
        policy=policy_of(on_store_outage="fetch"),
    )
    assert ask(verifier, idp.token()).subject == "user-1"
    for _ in range(3):
        assert refusal(verifier, idp.stranger_token(), ask) == "unknown_kid"
    assert idp.fetches == 1


def test_a_request_holds_no_connection_during_the_fetch_or_after_it(
    idp: LoopbackIssuer, make: MakeVerifier, pg_dsn: str
) -> None:
    def connections() -> int:
        with psycopg.connect(pg_dsn) as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid()"
            ).fetchone() or (None,)
        assert isinstance(count, int)
        return count

    verifier = make(issuer_of(idp), **shared(pg_dsn), policy=policy_of(wait_budget=0.0))
    before = connections()
    idp.hang()
    assert outage(verifier, idp.token()).reason == "running"
    ends = time.monotonic() + 5
    while not idp.fetches or connections() > before:
        assert time.monotonic() < ends
        time.sleep(0.01)
    idp.up()
    settle(verifier)
    assert verifier.verify(idp.token()).subject == "user-1"
    while connections() > before:
        assert time.monotonic() < ends
        time.sleep(0.01)


def environ_of(idp: LoopbackIssuer, dsn: str, **more: str) -> dict[str, str]:
    return {
        "SKELDIR_JWT_ISSUER": idp.issuer,
        "SKELDIR_JWT_AUDIENCE": "orders-api",
        "SKELDIR_JWT_JWKS_URL": idp.jwks_url,
        "SKELDIR_JWT_ALLOW_HTTP": "1",
        "SKELDIR_JWT_ALLOW_PRIVATE_HOSTS": "1",
        "SKELDIR_JWT_DATABASE_URL": dsn,
        "SKELDIR_JWT_SEAL_KEYS": base64.b64encode(KEY).decode(),
        "PATH": "/usr/bin",
        **more,
    }


def test_a_verifier_from_the_environment_verifies(idp: LoopbackIssuer, pg_dsn: str, ask: Ask) -> None:
    verifier = Verifier.from_env(environ_of(idp, pg_dsn, SKELDIR_JWT_TENANT_CLAIM="org"))
    assert ask(verifier, idp.token(org="acme")).tenant == "acme"
    assert row(pg_dsn)["refresh_event_count"] == 1
    by_hand = Verifier(issuer_of(idp), **shared(pg_dsn))
    assert ask(by_hand, idp.token()).subject == "user-1"
    assert idp.fetches == 1
    verifier.close()
    by_hand.close()


def test_the_process_environment_is_what_is_read(
    idp: LoopbackIssuer, pg_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ_of(idp, pg_dsn).items():
        monkeypatch.setenv(name, value)
    verifier = Verifier.from_env()
    assert verifier.verify(idp.token()).subject == "user-1"
    verifier.close()


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"SKELDIR_JWT_ISUER": "https://x/"}, "did you mean 'SKELDIR_JWT_ISSUER'"),
        ({"SKELDIR_JWT_FLOOR_SECONDS": "soon"}, "SKELDIR_JWT_FLOOR_SECONDS ('soon') must be a number"),
        ({"SKELDIR_JWT_LEASE_SECONDS": "1"}, "must be longer than"),
        ({"SKELDIR_JWT_SEAL_KEYS": "c2hvcnQ="}, "at least 32 bytes"),
    ],
)
def test_a_wrong_variable_is_named(more: dict[str, str], text: str, idp: LoopbackIssuer, pg_dsn: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Verifier.from_env(environ_of(idp, pg_dsn, **more))
    assert text in str(caught.value)


def test_a_role_without_insert_works_on_provisioned_rows(
    idp: LoopbackIssuer, make: MakeVerifier, pg_dsn: str
) -> None:
    verifier = make(issuer_of(idp), **shared(pg_dsn))
    assert provision(pg_dsn, verifier.source_keys()) == 1
    assert provision(pg_dsn, verifier.source_keys()) == 0
    assert verifier.verify(idp.token()).subject == "user-1"
    assert row(pg_dsn)["source_key"] in verifier.source_keys()


def test_no_connection_string_reaches_the_log(
    idp: LoopbackIssuer, make: MakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    dsn = "postgresql://nobody:hunter2@127.0.0.1:1/nothing"
    verifier = make(issuer_of(idp), store=PostgresStore(dsn), seal_keys=[KEY])
    assert outage(verifier, idp.token()).reason == "store"
    assert "gave no answer" in caplog.text
    assert "hunter2" not in caplog.text


def test_workers_that_outnumber_the_connections_are_one_fetch_and_none_is_refused(
    idp: LoopbackIssuer, make: MakeVerifier
) -> None:
    with EmbeddedPostgres(max_connections=30) as server:
        migrate(server.dsn())
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("CREATE ROLE app LOGIN CONNECTION LIMIT 5")
            connection.execute("GRANT SELECT, INSERT, UPDATE ON public.jwt_verification_cache TO app")
        dsn = make_conninfo(server.dsn(), user="app")
        workers = [make(issuer_of(idp), policy=policy_of(wait_budget=20.0), **shared(dsn)) for _ in range(20)]
        with ThreadPoolExecutor(len(workers)) as pool:
            for rotations in range(2):
                found = pool.map(Verifier.verify, workers, [idp.token()] * len(workers))
                assert {token.kid for token in found} == {idp.key().kid}
                assert idp.fetches == rotations + 1
                idp.rotate()
