"""The whole corpus again under every option, with tokens remembered, and in every type that a token comes in.

The proof that this can fail is in it: by the same means, under the same options, good tokens are accepted.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
from corpus import FAMILIES
from crafting import Case, Family, noting_what_is_signed, token, usual_keys
from judging import Judges, Verdict, averdict, verdict
from oddities import oddities
from option_sets import OPTION_SETS, OptionSet
from token_shapes import lying, no_tokens, shapes

from skeldir_jwt_mw import VerifiedToken, Verifier

ACCEPTED = "<VerifiedToken>"

pytestmark = pytest.mark.usefixtures("_the_time_of_the_corpus")


@functools.cache
def whole_corpus() -> list[tuple[Family, list[Case], list[str]]]:
    """Every family with its tokens, and with all that was signed for them, as good ones are first."""
    made = []
    for family in FAMILIES.values():
        with noting_what_is_signed() as signed:
            made.append((family, family.cases(), signed))
    return made


@functools.cache
def good() -> str:
    """A token that all of the option sets accept."""
    return token()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What each of so many refusals logs would take longer than the refusal."""
    caplog.set_level("CRITICAL", "skeldir_jwt_mw")


@pytest.fixture(params=OPTION_SETS.values(), ids=OPTION_SETS.keys())
def options(request: pytest.FixtureRequest) -> OptionSet:
    chosen: OptionSet = request.param
    return chosen


@pytest.fixture
def judges(options: OptionSet) -> Iterator[Judges]:
    made = options.judges()
    yield made
    made.close()


def warm(judge: Verifier, tokens: Iterable[str]) -> None:
    """Have every token remembered that can be, after it has come as one that lies."""
    for raw in tokens:
        verdict(judge, lying(raw, good()))
        verdict(judge, raw)


async def verdicts(judge: Verifier, raw: str | bytes, turn: int | None = None) -> dict[str, Verdict]:
    """What `verify` and `averify` say of a token, in each of the shapes that it comes in.

    With `turn`, a number, `averify` is asked about two of the shapes alone, by turns.
    """
    said = {}
    for place, (name, shape) in enumerate(shapes(raw, good()).items()):
        said[name] = verdict(judge, shape)
        if turn is None or place % 3 == turn % 3:
            said[f"{name}, in a loop"] = await averdict(judge, shape)
    return said


def is_harmless(family: Family, one: Case) -> bool:
    """Whether all that is wrong with a hostile token is a header that an issuer may ignore.

    Its length too: a chain of certificates is longer than what is allowed else.
    """
    match family.name:
        case "key brought along":
            return not one.name.endswith(("signed by it", "under a trusted kid"))
        case "members that change the reading":
            return one.name.startswith("zip ")
        case name:
            return name == "header larger than allowed"


def test_the_good_token_is_accepted_in_every_shape_and_nothing_else_is_a_token(
    options: OptionSet, judges: Judges
) -> None:
    judge = judges.of(usual_keys())
    cold = options.judges(token_cache=0)
    for one in (cold.of(usual_keys()), judge, judge):
        said = asyncio.run(verdicts(one, good()))
        assert {type(found) for found in said.values()} == {VerifiedToken}, said
        assert len({*said.values()}) == 1
        assert len(said) == 12
        for name, thing in no_tokens(good()).items():
            found = [verdict(one, thing), asyncio.run(averdict(one, thing))]
            assert found == ["malformed", "malformed"], name
    cold.close()


def test_no_hostile_token_is_accepted_in_any_shape_under_any_option(
    options: OptionSet, judges: Judges
) -> None:
    wrong, judged, harmless = [], Counter[str](), 0

    async def judge_family(family: Family, cases: list[Case], signed: list[str]) -> None:
        nonlocal harmless
        for keys in {id(case.keys): case.keys for case in cases}.values():
            warm(judges.of(keys), (good(), *signed))
        codes = family.codes | options.codes
        for turn, case in enumerate(cases):
            said = await verdicts(judges.of(case.keys), case.token, turn)
            judged.update(said.keys())
            found = {str(one) for one in said.values()}
            if options.ignores_headers and is_harmless(family, case):
                harmless += found == {ACCEPTED}
                found -= {ACCEPTED}
            if len({*said.values()}) != 1 or not found <= codes:
                wrong.append(f"{family.name}: {case.name}: {found}")

    for family, cases, signed in whole_corpus():
        asyncio.run(judge_family(family, cases, signed))
    assert wrong == []
    assert len(judged) == 12
    assert min(judged.values()) >= 450
    assert sum(judged.values()) >= 8 * 1400
    assert harmless == (28 if options.ignores_headers else 0)


def test_every_oddity_is_accepted_alike_cold_and_warm_in_every_shape(
    options: OptionSet, judges: Judges
) -> None:
    cold = options.judges(token_cache=0)
    accepted = 0
    for case in oddities():
        expected = verdict(cold.of(case.keys), case.token)
        for _ in range(2):
            said = asyncio.run(verdicts(judges.of(case.keys), case.token))
            assert {*said.values()} == {expected}, (case.name, said)
        if isinstance(expected, str):
            assert expected in options.locks_out, case.name
            continue
        accepted += 1
        for found in said.values():
            assert dict(found.claims) == dict(expected.claims)
            assert dict(found.header) == dict(expected.header)
            assert found.kid == expected.kid
    assert accepted >= (78 if options.locks_out else 87)
    cold.close()
