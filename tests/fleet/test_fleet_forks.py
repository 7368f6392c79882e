"""Servers that load the app and then fork: children have keys, claims and locks of their own."""

from __future__ import annotations

import pytest
from scene import ONE_FETCH, Scene

pytestmark = pytest.mark.skipif("not hasattr(__import__('os'), 'fork')")
CHILDREN = 4


@pytest.mark.parametrize("during", [False, True], ids=["after warm-up", "during a refresh"])
def test_forked_children_verify_a_new_key_by_claims_of_their_own(scene: Scene, during: bool) -> None:
    scene.start(1)
    scene.warm()
    scene.provider.slow(0.4)
    scene.provider.rotate()
    before = scene.counted()
    [answers] = scene.fleet.ask("fork", scene.provider.token(), CHILDREN, during, workers=[0])
    assert [outcome.error for outcome, _ in answers] == [None] * (CHILDREN + 1)
    assert scene.since(before) == ONE_FETCH
    assert all(sent["claim"] >= 1 for _, sent in answers)


def test_children_that_are_forked_cold_are_one_fetch(scene: Scene) -> None:
    scene.start(1)
    scene.provider.slow(0.4)
    [answers] = scene.fleet.ask("fork", scene.provider.token(), CHILDREN, False, workers=[0])
    assert [outcome.error for outcome, _ in answers] == [None] * (CHILDREN + 1)
    assert scene.counted() == ONE_FETCH
