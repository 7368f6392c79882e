"""A process that is frozen in each act of a look at the row, and thaws an hour or a minute later.

Reads one line of JSON per act from its input: which act it is to stop at, and the tokens. Its clock is what a
file says, so that the time for which it stands still need not pass.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import rig  # noqa: F401  # takes a mechanism out, where that is tried

from skeldir_jwt_mw import Issuer, JWTError, PostgresStore, RefreshPolicy, Verifier
from skeldir_jwt_mw.clock import Clock
from skeldir_jwt_mw.deadline import monotonic
from skeldir_jwt_mw.driver import Performer
from skeldir_jwt_mw.sources import CallableSource

POLICY: dict[str, Any] = {
    "jitter": 0.0,
    "wait_budget": 20.0,
    "fetch_timeout": 1.5,
    "lease": 2.0,
    "floor": 0.2,
}
SEAL_KEYS = [b"k" * 32]


def fleet_verifier(folder: Path, dsn: str, issuer: str, **policy: Any) -> Verifier:
    """A verifier of the fleet: keys from a file, the row in Postgres, time as another file adds to it."""
    its_clock = Clock(
        monotonic=lambda: monotonic() + float((folder / "moved").read_text()),
        wall=lambda: time.time() + float((folder / "moved").read_text()),
        draw=lambda: 0.5,
    )

    class MovableVerifier(Verifier):
        _clock: ClassVar[Clock] = its_clock

    source = CallableSource(lambda: json.loads((folder / "document").read_text()), identity="frozen")
    return MovableVerifier(
        Issuer(issuer, audience="orders-api", source=source),
        store=PostgresStore(dsn),
        seal_keys=SEAL_KEYS,
        policy=RefreshPolicy(**{**POLICY, **policy}),
    )


def pass_time(folder: Path, seconds: float) -> None:
    """Let so many seconds pass for everybody, in one step."""
    moved = folder / "moved"
    (folder / "moving").write_text(str(float(moved.read_text()) + seconds))
    (folder / "moving").replace(moved)


def verdict(verifier: Verifier, raw: str) -> str:
    try:
        return verifier.verify(raw).kid or ""
    except JWTError as refused:
        return refused.code


def main(folder: Path, dsn: str, issuer: str) -> None:
    perform = Performer.perform
    acts = 0
    stop_at: int | None = None

    def performed(performer: Performer, act: Any) -> Any:
        nonlocal acts
        acts += 1
        if acts == stop_at:
            os.kill(os.getpid(), signal.SIGSTOP)
        value = perform(performer, act)
        if stop_at is not None and acts == -stop_at:
            os.kill(os.getpid(), signal.SIGSTOP)
        return value

    Performer.perform = performed  # type: ignore[method-assign]
    for line in sys.stdin:
        task = json.loads(line)
        verifier = fleet_verifier(folder, dsn, issuer)
        verifier.warm()
        pass_time(folder, task["idle"])
        acts, stop_at = 0, task["stop_at"]
        first = verdict(verifier, task["revoked"])
        reached, stop_at = acts, None
        answer = {
            "first": first,
            "then": [verdict(verifier, task["revoked"]) for _ in range(3)],
            "acts": reached,
        }
        answer["new"] = verdict(verifier, task["new"])
        verifier.close()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
