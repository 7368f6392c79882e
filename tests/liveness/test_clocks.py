"""A machine that was restored from an image: its monotonic clock stood still, the wall clock went on."""

from __future__ import annotations

import pytest
from rig import Rig, provider, quiet, token
from scenes import hurried

from skeldir_jwt_mw import InvalidToken


def test_a_remembered_token_of_a_revoked_key_is_refused_after_the_clock_stood_still() -> None:
    rig = Rig(wait_budget=20.0)
    with hurried():
        rig.verifier.warm()
        assert rig.verifier.verify(token(0))
        assert rig.verifier.verify(token(0))  # from what is remembered
        rig.rotation += 1
        elsewhere = rig.another()
        rig.time.move(rig.policy.floor + 1)
        elsewhere.refresh()
        rig.time.stood_still = 2 * rig.policy.check_interval
        with pytest.raises(InvalidToken):
            rig.verifier.verify(token(0))
        quiet()


def test_keys_that_came_after_the_clock_stood_still_are_no_older_for_it() -> None:
    rig = Rig(wait_budget=20.0)
    with hurried():
        rig.verifier.warm()
        rig.time.move(rig.policy.floor + 1)
        rig.time.stood_still = 2 * rig.policy.check_interval
        rig.rotation += 1
        assert rig.verify()
        assert rig.verify()
        assert rig.verifier.status()[provider().issuer]["age"] < rig.policy.check_interval
        quiet()
