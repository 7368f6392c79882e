"""Signals for real: the time limits of servers and job queues raise in the thread that asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = int(os.environ.get("SKELDIR_JWT_TEST_SIGNALS", "250"))  # interruptions per seed
SCRIPT = Path(__file__).with_name("interrupted.py")


@pytest.mark.timeout(60 + COUNT)
@pytest.mark.parametrize("seed", [1, 2])
def test_cold_verifies_that_a_signal_interrupts_never_leave_a_dead_issuer(seed: int) -> None:
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), str(COUNT), str(seed)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert int(ended.stdout) >= COUNT
