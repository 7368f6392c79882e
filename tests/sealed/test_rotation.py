"""New seal keys, one worker after the other, while requests flow: docs/operations.md, step by step."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from attack import POLICY

from skeldir_jwt_mw.core.seal import _key_id
from skeldir_jwt_mw.testing import IssuerProcess
from skeldir_jwt_mw.testing.fleet import Fleet, Outcome, WorkerSetup

SIZE = 4
REQUESTS = 500  # of one worker while another one is replaced
OLD, NEW = (secrets.token_bytes(32) for _ in range(2))
STEPS = {"old": (OLD,), "old,new": (OLD, NEW), "new,old": (NEW, OLD), "new": (NEW,)}  # as the page has them


@pytest.fixture(scope="module")
def provider() -> Iterator[IssuerProcess]:
    with IssuerProcess() as provider:
        yield provider


@pytest.fixture
def setup(provider: IssuerProcess, pg_dsn: str) -> WorkerSetup:
    provider.up()
    provider.rotate(keep_previous=False)
    return WorkerSetup(
        issuer=provider.issuer,
        audience=provider.audience,
        jwks_url=provider.jwks_url,
        dsn=pg_dsn,
        seal_keys=STEPS["old"],
        policy={**POLICY, "floor": 0.2},
    )


@pytest.fixture
def fleet(setup: WorkerSetup) -> Iterator[Fleet]:
    with Fleet(SIZE, setup) as fleet:
        yield fleet


def roll(fleet: Fleet, setup: WorkerSetup, token: str) -> list[Outcome]:
    """Replace the workers one after the other; all others go on verifying, and so does the new one."""
    outcomes: list[Outcome] = []
    for number in range(fleet.size):
        others = [other for other in range(fleet.size) if other != number]
        fleet.start_verify(*[token] * REQUESTS, workers=others)
        fleet.become(setup, [number])
        outcomes += fleet.verify(*[token] * REQUESTS, workers=[number])
        outcomes += fleet.collect(workers=others)
    return outcomes


def sealed_with(pg_dsn: str) -> bytes:
    with psycopg.connect(pg_dsn) as connection:
        ((seal,),) = connection.execute("SELECT seal FROM public.jwt_verification_cache").fetchall()
    return bytes(seal)[1:9]


def test_seal_keys_are_replaced_without_an_outage_or_a_fetch(
    fleet: Fleet, setup: WorkerSetup, provider: IssuerProcess, pg_dsn: str
) -> None:
    token = provider.token()
    outcomes = fleet.verify(token)
    assert sealed_with(pg_dsn) == _key_id(OLD)
    fetches = provider.fetches
    for step in ("old,new", "new,old"):
        outcomes += roll(fleet, replace(setup, seal_keys=STEPS[step]), token)
    assert provider.fetches == fetches
    assert fleet.ask("refresh", workers=[0]) == [None]  # as the page says, for the row to be sealed anew
    assert sealed_with(pg_dsn) == _key_id(NEW)
    outcomes += fleet.verify(token)
    outcomes += roll(fleet, replace(setup, seal_keys=STEPS["new"]), token)
    assert provider.fetches == fetches + 1
    assert {outcome.error for outcome in outcomes} == {None}
    assert len(outcomes) > SIZE * SIZE * REQUESTS
    # And the fleet is one: a rotation of the provider's costs it one fetch.
    provider.rotate()
    assert {outcome.error for outcome in fleet.verify(provider.token())} == {None}
    assert provider.fetches == fetches + 2


def test_a_leaked_seal_key_is_replaced_at_once_at_the_cost_of_fetches_alone(
    fleet: Fleet, setup: WorkerSetup, provider: IssuerProcess, pg_dsn: str
) -> None:
    token = provider.token()
    outcomes = fleet.verify(token)
    fetches = provider.fetches
    outcomes += roll(fleet, replace(setup, seal_keys=STEPS["new"]), token)
    assert {outcome.error for outcome in outcomes} == {None}
    assert provider.fetches > fetches
    provider.rotate()
    assert {outcome.error for outcome in fleet.verify(provider.token())} == {None}
    assert sealed_with(pg_dsn) == _key_id(NEW)
