"""A fleet of Django processes meets an unknown kid: one fetch, and every process verifies the token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django_fleet import ProjectSetup
from psycopg.rows import dict_row

from skeldir_jwt_mw.environment import ALLOW_MUTATIONS, DISABLE_SINGLEFLIGHT
from skeldir_jwt_mw.testing.fleet import Fleet
from skeldir_jwt_mw.testing.issuer_process import IssuerProcess

PROCESSES = 8
FETCH = 0.2  # seconds that the provider takes for its answer
POLICY = {"floor": 0.5, "jitter": 0.05, "fetch_timeout": 5.0, "lease": 8.0, "wait_budget": 12.0}


@pytest.fixture
def provider() -> Iterator[IssuerProcess]:
    with IssuerProcess() as provider:
        provider.slow(FETCH)
        yield provider


def row_of(dsn: str) -> dict[str, Any]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        row = connection.execute("SELECT * FROM public.jwt_verification_cache").fetchone()
    assert row is not None
    return row


def setup_of(provider: IssuerProcess, dsn: str, **environ: str) -> ProjectSetup:
    return ProjectSetup(
        issuer=provider.issuer,
        audience=provider.audience,
        jwks_url=provider.jwks_url,
        dsn=dsn,
        seal_keys=(bytes(32),),
        policy=POLICY,
        environ=environ,
    )


def assert_all_verified(fleet: Fleet, token: str) -> None:
    outcomes = fleet.verify(token)
    assert [outcome for outcome in outcomes if not outcome.verified] == []
    assert len({outcome.worker for outcome in outcomes}) == fleet.size


def test_an_unknown_kid_is_one_fetch_of_a_fleet_of_django_processes(
    provider: IssuerProcess, pg_dsn: str
) -> None:
    with Fleet(PROCESSES, setup_of(provider, pg_dsn)) as fleet:
        assert_all_verified(fleet, provider.token())
        assert provider.fetches == 1
        provider.rotate()
        before = row_of(pg_dsn)
        assert_all_verified(fleet, provider.token())
        after = row_of(pg_dsn)
        statuses = [answer[provider.issuer] for answer in fleet.ask("status")]
    assert provider.fetches == 2
    for counter in ("fetch_attempt_count", "refresh_event_count"):
        assert after[counter] == before[counter] + 1
    assert (after["failure_event_count"], after["abandoned_count"]) == (0, 0)
    assert after["last_refresh_reason"] == "unknown_kid"
    assert {status["generation"] for status in statuses} == {after["generation"]}
    assert {status["source_key"] for status in statuses} == {after["source_key"]}


def test_without_coordination_every_django_process_fetches(provider: IssuerProcess, pg_dsn: str) -> None:
    with Fleet(3, setup_of(provider, pg_dsn, **{DISABLE_SINGLEFLIGHT: "1", ALLOW_MUTATIONS: "1"})) as fleet:
        assert_all_verified(fleet, provider.token())
    assert provider.fetches == 3
    assert row_of(pg_dsn)["refresh_event_count"] == 3
