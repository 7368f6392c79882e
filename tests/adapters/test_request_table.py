"""Every adapter answers every request of the table alike: in process, and behind real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec

import pytest
from calling import Adapter, InProcessASGI, InProcessWSGI
from comparing import judge
from identity import Signer, Verifiers
from live_servers import Gunicorn, Uvicorn
from request_table import CASES, Case, by_rule

Adapters = dict[str, Callable[[Verifiers, Signer], AbstractContextManager[Adapter]]]

ADAPTERS: Adapters = {
    "asgi": lambda verifiers, _: nullcontext(InProcessASGI(verifiers.for_case)),
    "wsgi": lambda verifiers, _: nullcontext(InProcessWSGI(verifiers.for_case)),
    "uvicorn": lambda _, signer: Uvicorn(signer.environ),
    "gunicorn": lambda _, signer: Gunicorn(signer.environ),
}
# The framework, and the module whose ADAPTERS join the table.
FRAMEWORKS = {"django": "django_adapter", "fastapi": "fastapi_adapter", "flask": "flask_adapter"}
for framework, module in FRAMEWORKS.items():
    if find_spec(framework) is not None:
        ADAPTERS |= import_module(module).ADAPTERS


@pytest.fixture(scope="module", params=[*ADAPTERS, *(f"{name}, everything on" for name in ADAPTERS)])
def adapter(
    request: pytest.FixtureRequest, verifiers: Verifiers, everything: Verifiers, signer: Signer
) -> Iterator[Adapter]:
    name, _, on = request.param.partition(",")
    chosen, signing = (everything, signer.with_everything()) if on else (verifiers, signer)
    with ADAPTERS[name](chosen, signing) as adapter:
        adapter.everything = bool(on)
        yield adapter


def cases(rule: str) -> pytest.MarkDecorator:
    """The cases of one rule, by name."""
    return pytest.mark.parametrize("case", by_rule(rule), ids=lambda case: case.name)


@cases("r40")
def test_r40_credentials_come_once_in_one_place_and_in_one_form(
    adapter: Adapter, case: Case, tokens: dict[str, str]
) -> None:
    judge(adapter, case, tokens)


@cases("r41")
def test_r41_each_refusal_has_its_own_status_and_challenge(
    adapter: Adapter, case: Case, tokens: dict[str, str]
) -> None:
    judge(adapter, case, tokens)


@cases("r42")
def test_r42_the_resource_is_described_and_challenges_point_there(
    adapter: Adapter, case: Case, tokens: dict[str, str]
) -> None:
    judge(adapter, case, tokens)


@cases("r44")
def test_r44_every_invalid_token_gets_the_same_answer(
    adapter: Adapter, case: Case, tokens: dict[str, str]
) -> None:
    judge(adapter, case, tokens)


@cases("exempt")
def test_only_exempt_paths_need_no_token(adapter: Adapter, case: Case, tokens: dict[str, str]) -> None:
    judge(adapter, case, tokens)


@cases("options")
def test_options_decide_who_may_be_anonymous(adapter: Adapter, case: Case, tokens: dict[str, str]) -> None:
    judge(adapter, case, tokens)


def test_every_case_of_the_table_is_sent() -> None:
    rules = ("r40", "r41", "r42", "r44", "exempt", "options")
    assert sum(len(by_rule(rule)) for rule in rules) == len(CASES)
    assert len({case.name for case in CASES}) == len(CASES)


def test_nothing_is_left_out_but_for_what_an_adapter_has_not(adapter: Adapter) -> None:
    known = {"exempt", "exempt_preflight", "metadata", "realm", "required", "resource", "token_getter"}
    assert set().union(*(case.needs for case in CASES)) == {*known, "views", "apps"}
    assert adapter.lacks <= {"exempt", "exempt_preflight", "metadata", "views", "apps"}
    assert len(adapter.lacks & {"views", "apps"}) == 1
    assert [case for case in CASES if not adapter.lacks & case.needs]


@pytest.mark.parametrize("calling", [InProcessASGI, InProcessWSGI])
def test_r44_refusals_are_equal_to_the_last_byte(
    calling: type[InProcessASGI | InProcessWSGI], verifiers: Verifiers, tokens: dict[str, str]
) -> None:
    adapter = calling(verifiers.for_case)
    refused = [case for case in by_rule("r44") if not case.options and case.method == "GET"]
    assert len(refused) >= 10
    assert len({adapter.call(case, tokens) for case in refused}) == 1
