"""What a rotation costs a fleet: fetches, statements, and how soon the new key is usable in every worker.

    python benchmarks/fleet.py                      # 8, 32 and 64 processes
    python benchmarks/fleet.py 128 256 --rounds 3
    python benchmarks/fleet.py 32 --pgbouncer       # through a pooler in transaction mode
    python benchmarks/fleet.py 32 --uncoordinated   # with the claim switched off

Each round rotates the keys and lets all workers verify a token of the new key in the same instant. The
latency is that of `verify`, in milliseconds beyond the time that the provider takes to answer; the last
column counts from the instant in which the leader itself had the key.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import time
from collections.abc import Sequence

from skeldir_jwt_mw.environment import ALLOW_MUTATIONS, DISABLE_SINGLEFLIGHT
from skeldir_jwt_mw.migrate import migrate
from skeldir_jwt_mw.testing.fleet import Fleet, Outcome, WorkerSetup
from skeldir_jwt_mw.testing.issuer_process import IssuerProcess
from skeldir_jwt_mw.testing.pgbouncer import PgBouncer
from skeldir_jwt_mw.testing.postgres import EmbeddedPostgres

FETCH = 0.2  # seconds that the provider takes
FLOOR = 1.0
POLICY = {"floor": FLOOR, "jitter": 0.1, "lease": 10.0, "fetch_timeout": 5.0, "wait_budget": 30.0}
COLUMNS = (
    f"{'processes':>9} {'fetches':>8} {'verified':>9} {'statements':>12} {'p50':>7} {'p95':>7} {'max':>7}"
    f" {'p95 after leader':>17}"
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", type=int, nargs="*", default=[8, 32, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pgbouncer", action="store_true")
    parser.add_argument("--uncoordinated", action="store_true")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres())
        dsn = postgres.create_database("fleet")
        migrate(dsn)
        if options.pgbouncer:
            dsn = stack.enter_context(PgBouncer(dsn)).dsn("fleet")
        provider = stack.enter_context(IssuerProcess())
        provider.slow(FETCH)
        print(f"{COLUMNS}   (fetches per rotation; statements per worker, mean/max; ms beyond {FETCH:g} s)")
        for size in options.sizes:
            measure(size, options.rounds, dsn, provider, coordinated=not options.uncoordinated)


def measure(size: int, rounds: int, dsn: str, provider: IssuerProcess, *, coordinated: bool) -> None:
    """One line of the table."""
    toggle = {} if coordinated else {DISABLE_SINGLEFLIGHT: "1", ALLOW_MUTATIONS: "1"}
    setup = WorkerSetup(
        issuer=provider.issuer,
        audience="orders-api",
        jwks_url=provider.jwks_url,
        dsn=dsn,
        seal_keys=(secrets.token_bytes(32),),
        namespace=secrets.token_hex(4),
        policy=POLICY,
        environ=toggle,
    )
    with Fleet(size, setup) as fleet:
        fleet.verify(provider.token())
        outcomes: list[Outcome] = []
        after_leader: list[float] = []
        statements: list[int] = []
        fetches = provider.fetches
        for _ in range(rounds):
            time.sleep(FLOOR * 1.3)
            provider.rotate()
            before = counts(fleet)
            answers = fleet.verify(provider.token(), timeout=120)
            outcomes += answers
            first = min(outcome.seconds for outcome in answers)  # nobody has the key before the leader
            after_leader += [outcome.seconds - first for outcome in answers]
            statements += [after - start for after, start in zip(counts(fleet), before, strict=True)]
        fetches = provider.fetches - fetches
    verified = sum(outcome.verified for outcome in outcomes)
    mean = sum(statements) / len(statements)
    seconds = [outcome.seconds - FETCH for outcome in outcomes]
    latencies = "".join(f"{milliseconds(seconds, share):8.0f}" for share in (0.5, 0.95, 1.0))
    print(
        f"{size:>9} {fetches / rounds:>8.2f} {verified:>5}/{len(outcomes)}"
        f" {mean:>8.1f}/{max(statements)}{latencies} {milliseconds(after_leader, 0.95):>17.0f}",
        flush=True,
    )


def counts(fleet: Fleet) -> list[int]:
    """Statements so far, by worker."""
    return [sum(worker.values()) for worker in fleet.ask("statements")]


def milliseconds(seconds: Sequence[float], share: float) -> float:
    """Milliseconds within which that share of the answers came."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    main()
