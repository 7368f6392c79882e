"""How long a fetch that must be cut off takes, on a machine that may itself stall now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from skeldir_jwt_mw.sources import FetchFailed

GRACE = 0.25  # seconds past its deadline
ATTEMPTS = 3


def assert_cut_off(
    fetch: Callable[[], object], timeout: float, reason: str = "the provider did not answer in time"
) -> None:
    """`fetch` fails for want of time, never before `timeout` and at most `GRACE` after it.

    A busy machine can hold up one attempt, but not each of three.
    """
    took = []
    for _ in range(ATTEMPTS):
        began = time.monotonic()
        with pytest.raises(FetchFailed) as failure:
            fetch()
        took.append(time.monotonic() - began)
        assert failure.value.reason == reason
        assert took[-1] >= timeout
        if took[-1] < timeout + GRACE:
            return
    pytest.fail(f"with a deadline of {timeout} s the attempts took {took}")
