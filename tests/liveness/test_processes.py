"""Processes that are forked, frozen or ended while a refresh is in the air."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from frozen import fleet_verifier, pass_time
from leading import verifier_of
from rig import provider

from skeldir_jwt_mw.testing import SigningKey

FOLDER = Path(__file__).parent
LONGEST = 60.0  # seconds

pytestmark = [
    pytest.mark.platform,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork"),
]


@pytest.mark.parametrize("hooks", ["hooks", "none"])
def test_a_child_that_was_forked_in_the_midst_of_everything_verifies_a_new_key(hooks: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(FOLDER / "forked.py"), hooks],
        capture_output=True,
        text=True,
        timeout=2 * LONGEST,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


# -- freezes ----------------------------------------------------------------------------------------------


class Frozen:
    """The process that freezes, and the world around it."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder = folder
        self.dsn = dsn
        self.rotate()
        (folder / "moved").write_text("0")
        self.process = subprocess.Popen(
            [sys.executable, str(FOLDER / "frozen.py"), str(folder), dsn, provider().issuer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def rotate(self) -> SigningKey:
        """Publish a new key and no other."""
        provider().rotate(keep_previous=False)
        key = provider().key()
        (self.folder / "document").write_text(json.dumps({"keys": [key.jwk()]}))
        return key

    def play(self, stop_at: int, *, idle: float, frozen_for: float) -> dict[str, Any] | None:
        """What it says after it was frozen at that act; None where it did not get so far."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("TRUNCATE public.jwt_verification_cache")
        revoked = self.rotate()
        task = {
            "stop_at": stop_at,
            "idle": idle,
            "revoked": provider().token(key=revoked, kid=revoked.kid, expires_in=10**6),
            "new": "",
        }
        coming = SigningKey.generate("ES256", kid=f"coming-{stop_at}")
        task["new"] = provider().token(key=coming, kid=coming.kid, expires_in=10**6)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        if self._stops():
            (self.folder / "document").write_text(json.dumps({"keys": [coming.jwk()]}))
            elsewhere = fleet_verifier(
                self.folder, self.dsn, provider().issuer, floor=0.001, fetch_timeout=20.0, lease=30.0
            )
            elsewhere.refresh()  # takes the lease over, should the frozen process hold it
            elsewhere.close()
            pass_time(self.folder, frozen_for)
            os.kill(self.process.pid, signal.SIGCONT)
            frozen = True
        else:
            frozen = False
        readable, _, _ = select.select([self.process.stdout], [], [], LONGEST)
        assert readable, "it hangs"
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer if frozen else None

    def _stops(self) -> bool:
        """Whether it stops before it answers."""
        assert self.process.stdout is not None
        while True:
            pid, status = os.waitpid(self.process.pid, os.WUNTRACED | os.WNOHANG)
            if pid:
                assert os.WIFSTOPPED(status)
                return True
            if select.select([self.process.stdout], [], [], 0.005)[0]:
                return False

    def close(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def frozen(tmp_path: Path, pg_dsn: str) -> Iterator[Frozen]:
    frozen = Frozen(tmp_path, pg_dsn)
    yield frozen
    frozen.close()


@pytest.mark.parametrize("idle", [70.0, 310.0], ids=["a look", "a fetch"])
@pytest.mark.parametrize(
    "frozen_for",
    [90.0, 3600.0],
    ids=["a while", "an hour"],  # longer than keys go uncompared
)
def test_after_a_freeze_in_any_act_a_revoked_key_is_refused_and_a_new_one_serves(
    frozen: Frozen, idle: float, frozen_for: float
) -> None:
    answers = []
    for stop_at in range(1, 20):
        answer = frozen.play(stop_at, idle=idle, frozen_for=frozen_for)
        if answer is None:
            break
        answers.append(answer)
        assert set(answer["then"]) <= {"unknown_kid", "keys_unavailable"}, (stop_at, answer)
        assert answer["new"].startswith("coming-"), (stop_at, answer)
    assert len(answers) >= 2, "hardly an act was frozen, so little was shown"


# -- ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["left to itself", "closed", "error", "forgotten"])
def test_a_process_that_ends_while_it_leads_gives_its_lease_back(kind: str, pg_dsn: str) -> None:
    issuer = provider().issuer
    ended = subprocess.run(
        [sys.executable, str(FOLDER / "leading.py"), pg_dsn, issuer, kind],
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("leads\n", "", 3 if kind == "error" else 0)
    with psycopg.connect(pg_dsn) as connection:
        row = connection.execute(
            "SELECT lease_owner, failure_event_count FROM public.jwt_verification_cache"
        ).fetchone()
        assert row == (None, 0)
    verifier = verifier_of(pg_dsn, issuer, provider().jwks)
    assert verifier.verify(provider().token()).kid  # within its budget, which is shorter than the lease
    verifier.close()
