"""Every hostile token is refused, for its own reason, quickly, in little memory; every odd one accepted."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator

import pytest
from corpus import FAMILIES
from crafting import Case, Family, token, usual_keys
from judging import Judges, verdict
from oddities import oddities

from skeldir_jwt_mw import JWTError, VerifiedToken, Verifier

pytestmark = pytest.mark.usefixtures("_the_time_of_the_corpus")

QUICK = 0.005  # seconds of CPU for one verdict
ATTEMPTS = 5  # of which one has to be quick: a machine may be busy, but not every time
MEMORY = 1_500_000  # bytes at the peak of one verdict; no token is larger than 16 KiB
ALL = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())


@pytest.fixture(scope="module")
def judges() -> Iterator[Judges]:
    judges = Judges()
    yield judges
    judges.close()


@pytest.fixture(scope="module")
def remembering() -> Iterator[Judges]:
    judges = Judges(token_cache=1000)
    yield judges
    judges.close()


def unexpected(family: Family, case: Case, judge: Verifier) -> str | None:
    """What is wrong with the verdict, or None."""
    found = verdict(judge, case.token)
    return None if found in family.codes else f"{case.name}: {found}"


def test_the_corpus_is_as_large_as_it_is_said_to_be() -> None:
    cases = [case for family in FAMILIES.values() for case in family.cases()]
    assert len(FAMILIES) >= 80
    assert len(cases) >= 1400
    assert len(oddities()) >= 80
    rules = {family.rule for family in FAMILIES.values()}
    assert rules >= {f"R{n:02d}" for n in (*range(1, 7), *range(10, 18), *range(20, 25), *range(30, 36), 37)}


@ALL
def test_no_two_tokens_of_a_family_have_one_name(family: Family) -> None:
    names = [case.name for case in family.cases()]
    assert len(names) == len(set(names))
    assert len(names) >= 3


@ALL
def test_every_token_is_refused_for_the_reason_it_was_made_for(family: Family, judges: Judges) -> None:
    found = [unexpected(family, case, judges.of(case.keys)) for case in family.cases()]
    assert [one for one in found if one is not None] == []


@ALL
def test_a_token_is_refused_again_after_good_ones_in_either_form(family: Family, remembering: Judges) -> None:
    good = token()
    for case in family.cases():
        judge = remembering.of(case.keys)
        if case.keys is usual_keys():
            judge.verify(good)  # its header is remembered from here on, and it is
        first = unexpected(family, case, judge)
        other: str | bytes
        if isinstance(case.token, str):
            other = case.token.encode()
        else:
            other = case.token.decode("latin-1")
        again = unexpected(family, Case(name=case.name, token=other, keys=case.keys), judge)
        assert first is None
        assert again is None


@ALL
def test_every_verdict_is_quick(family: Family, judges: Judges) -> None:
    for case in family.cases():
        judge = judges.of(case.keys)
        took = []
        for _ in range(ATTEMPTS):
            began = time.thread_time()
            verdict(judge, case.token)
            took.append(time.thread_time() - began)
            if took[-1] < QUICK:
                break
        assert min(took) < QUICK, case.name


@ALL
def test_no_verdict_takes_much_memory(family: Family, judges: Judges) -> None:
    for case in family.cases():
        judge = judges.of(case.keys)
        tracemalloc.start()
        try:
            verdict(judge, case.token)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < MEMORY, case.name


def test_every_oddity_is_accepted(judges: Judges) -> None:
    refused = {}
    for case in oddities():
        try:
            made = judges.of(case.keys).verify(case.token)
        except JWTError as error:
            refused[case.name] = error.code
        else:
            assert type(made) is VerifiedToken
    assert refused == {}


def test_the_names_of_oddities_are_their_own() -> None:
    names = [case.name for case in oddities()]
    assert len(names) == len(set(names))
