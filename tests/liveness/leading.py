"""A process that ends while it holds the fleet's lease. `python leading.py DSN ISSUER KIND`."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import rig  # noqa: F401  # takes a mechanism out, where that is tried

from skeldir_jwt_mw import Issuer, PostgresStore, RefreshPolicy, Verifier
from skeldir_jwt_mw.sources import CallableSource

LEASE = 50.0  # seconds; who waits it out is told from who need not
SEAL_KEYS = [b"k" * 32]


def verifier_of(dsn: str, issuer: str, fetch: Any) -> Verifier:
    return Verifier(
        Issuer(issuer, audience="orders-api", source=CallableSource(fetch, identity="leading")),
        store=PostgresStore(dsn),
        seal_keys=SEAL_KEYS,
        policy=RefreshPolicy(jitter=0.0, lease=LEASE, fetch_timeout=LEASE / 2, floor=60.0, wait_budget=20.0),
    )


def main(dsn: str, issuer: str, kind: str) -> None:
    entered = threading.Event()

    def hang() -> None:
        entered.set()
        threading.Event().wait()

    verifier = verifier_of(dsn, issuer, hang)
    refresher = verifier._roster.served[0].refresher
    refresher.demand("cold", refresher._clock.monotonic(), force=True)
    entered.wait(20.0)
    sys.stdout.write("leads\n")
    sys.stdout.flush()
    match kind:
        case "closed":
            verifier.close()
        case "error":
            raise SystemExit(3)
        case "forgotten":
            del verifier, refresher


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main(*sys.argv[1:])
