"""Every negative control, and every guard that is taken out, finds its place in the code."""

from __future__ import annotations

import sys

import pytest
from mutations import MUTATIONS, Mutation, check
from project import ROOT

sys.path.append(str(ROOT / "tests/advisories"))

from removals import GUARDS


@pytest.mark.parametrize("mutation", [*MUTATIONS.values(), *GUARDS.values()], ids=[*MUTATIONS, *GUARDS])
def test_a_control_finds_its_place(mutation: Mutation) -> None:
    check(mutation)
