"""A fresh attack for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from skeldir_jwt_mw.testing import LoopbackIssuer

pytest.register_assert_rewrite("attack")
from attack import Attack  # noqa: E402


@pytest.fixture
def stage(pg_dsn: str) -> Iterator[Callable[..., Attack]]:
    """Makes an attack, whose service has the policy given."""
    made: list[Attack] = []
    with LoopbackIssuer() as idp, LoopbackIssuer() as theirs:

        def make(**policy: Any) -> Attack:
            made.append(Attack(pg_dsn, idp, theirs, **policy))
            return made[-1]

        yield make
        for attack in made:
            attack.close()


@pytest.fixture
def attack(stage: Callable[..., Attack]) -> Attack:
    """An attack on a service with the usual policy of these tests."""
    return stage()
