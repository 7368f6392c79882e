"""What every pytest-xdist worker does in the proof in which these workers are the fleet themselves.

`test_xdist_fleet.py` runs this module in a pytest of its own, once in each worker.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any
from urllib.request import urlopen

import psycopg
import pytest
from psycopg.rows import dict_row

from skeldir_jwt_mw import Issuer, PostgresStore, RefreshPolicy, Verifier

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
TOGETHER = 60.0  # seconds until all have come


@pytest.fixture
def fleet() -> dict[str, str]:
    """Where the database and the provider are."""
    return dict(json.loads(os.environ["SKELDIR_JWT_TEST_FLEET"]))


def query(dsn: str, statement: str, *values: Any) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def meet(dsn: str, place: str) -> None:
    """Return once every worker has come to the barrier."""
    query(dsn, "INSERT INTO barrier VALUES (%s, %s)", place, WORKER)
    ends = time.monotonic() + TOGETHER
    while query(dsn, "SELECT count(*) AS come FROM barrier WHERE place = %s", place)[0]["come"] < WORKERS:
        assert time.monotonic() < ends, f"only some of {WORKERS} workers came to {place!r}"
        time.sleep(0.002)


def post(url: str) -> Any:
    with urlopen(url, data=b"{}", timeout=10) as answer:
        return json.loads(answer.read())


def test_the_workers_of_pytest_are_a_fleet(fleet: dict[str, str]) -> None:
    dsn, origin = fleet["dsn"], fleet["origin"]
    issuer = Issuer(
        fleet["issuer"],
        audience=fleet["audience"],
        jwks_url=fleet["jwks_url"],
        allow_http=True,
        allow_private_hosts=True,
    )
    verifier = Verifier(
        [issuer],
        store=PostgresStore(dsn),
        seal_keys=[bytes.fromhex(fleet["seal_key"])],
        policy=RefreshPolicy(floor=0.5, wait_budget=12, fetch_timeout=5, lease=8),
    )
    meet(dsn, "cold")
    verifier.verify(fleet["known"])
    meet(dsn, "warm")
    if WORKER in ("gw0", "alone"):
        post(f"{origin}/rotate")
        query(dsn, "INSERT INTO token VALUES (%s)", post(f"{origin}/token")["access_token"])
    meet(dsn, "rotated")
    [row] = query(dsn, "SELECT token FROM token")
    assert verifier.verify(row["token"]).kid not in (None, verifier.verify(fleet["known"]).kid)
    meet(dsn, "verified")
    [evidence] = query(dsn, "SELECT * FROM public.jwt_verification_cache")
    assert evidence["refresh_event_count"] == evidence["fetch_attempt_count"] == 2  # cold, and one rotation
