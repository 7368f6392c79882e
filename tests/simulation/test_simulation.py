"""Fleets under virtual time: every verdict is judged, by chance over all policies and fault by fault."""

from __future__ import annotations

import logging

import pytest
import run
from named import NAMED
from scenarios import FAULTS, by_chance
from virtual import Violation
from wrong import WRONG, Wrong, made_wrong

SEEDS = 160  # by chance
FOUND = (9002, 9282, 9843)  # seeds of a run of ten thousand
BATCH = 8
EACH = 4  # seeds of each fault that has a name
TRIES = 8  # seeds within which a wrong variant is noticed


@pytest.fixture(autouse=True)
def _nobody_reads_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("skeldir_jwt_mw"), "disabled", True)


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_no_verdict_of_a_fleet_breaks_a_promise_whatever_its_policy_and_weather(first: int) -> None:
    for seed in range(first, first + BATCH):
        by_chance(seed)


@pytest.mark.parametrize("seed", FOUND)
def test_what_a_long_run_has_found_is_mended(seed: int) -> None:
    by_chance(seed)


@pytest.mark.parametrize("name", NAMED)
def test_a_fault_comes_to_no_more_than_is_promised(name: str) -> None:
    for seed in range(EACH):
        NAMED[name](seed)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.what.replace(" ", "-"))
def test_a_library_that_is_wrong_on_purpose_is_found_out(wrong: Wrong) -> None:
    with made_wrong(wrong):
        assert any(_breaks(wrong.scenario, seed) for seed in range(TRIES))


def test_a_wrong_variant_whose_text_is_gone_says_so() -> None:
    gone = Wrong("", "", WRONG[0].owner, WRONG[0].name, "no such text", "")
    with pytest.raises(AssertionError, match="has changed"), made_wrong(gone):
        pass


def test_the_weather_is_one_and_every_kind_of_verdict_is_heard() -> None:
    results = [by_chance(seed) for seed in range(1000, 1024)]
    struck = {kind for result in results if result.life for kind in result.life.struck}
    assert len(struck) > len(FAULTS) * 2 / 3
    statuses = {status for result in results for status, _ in result.world.court.verdicts}
    assert statuses == {200, 401, 503}
    assert {result.kind for result in results} == {"calm", "one fault", "few faults", "storm"}


def test_the_same_seed_is_the_same_run() -> None:
    one, other = by_chance(7).world, by_chance(7).world
    assert one.court.verdicts == other.court.verdicts
    assert one.court.worst == other.court.worst
    assert one.database.statements == other.database.statements


def test_the_command_prints_what_was_judged_and_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--seeds", "4", "--named", "1"]) == 0
    said = capsys.readouterr().out
    assert "violations" in said
    assert "a dropped key is accepted" in said


def _breaks(scenario: str, seed: int) -> bool:
    try:
        NAMED[scenario](seed)
    except Violation:
        return True
    return False
