"""Every adapter answers every request of the table alike: in process, and behind real servers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec

import pytest
from calling import Adapter, InProcessASGI, InProcessWSGI, Result
from identity import TENANT, Signer, Verifiers, user_key
from live_servers import Gunicorn, Uvicorn
from request_table import CASES, Case, by_rule

from skeldir_jwt_mw._http import DESCRIPTIONS

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


def judge(adapter: Adapter, case: Case, tokens: dict[str, str]) -> None:
    """Send the case's request and compare all of the answer."""
    if (adapter.over_sockets and not case.over_sockets) or adapter.lacks & case.needs:
        return
    result = adapter.call(case, tokens)
    assert result.status == case.status
    assert result.header("www-authenticate") == case.challenge
    _say_nothing_of_tokens(result, tokens)
    if case.document is None and case.error is None:
        _reached_the_app(result, case, everything=adapter.everything)
        return
    assert result.seen is None, "the app was called"
    assert result.header("content-type") == "application/json"
    expected = case.document
    if case.error is not None:
        expected = {"error": case.error, "error_description": DESCRIPTIONS[case.error]}
    length = int(result.header("content-length") or -1)
    if case.method == "HEAD":
        assert result.body == b""
        assert length > 0
    else:
        wrapped = adapter.wraps is not None and case.error is not None
        assert json.loads(result.body) == ({adapter.wraps: expected} if wrapped else expected)
        assert length == len(result.body)
    retry_after = result.header("retry-after")
    assert retry_after is None if case.status != 503 else re.fullmatch("[1-9][0-9]*", retry_after or "")


def _reached_the_app(result: Result, case: Case, *, everything: bool) -> None:
    seen = result.seen
    assert seen is not None, "the app was not called"
    assert (seen["subject"], seen["current"]) == (case.subject, case.subject)
    known = case.subject is not None
    assert seen["tenant"] == (TENANT if known and everything else None)
    if "user" in seen:
        subject = case.subject or ""
        assert seen["user"] == [known, subject, user_key(subject, everything=everything)]
        assert seen["scopes"] == (["orders:read", "orders:write"] if known else [])


def _say_nothing_of_tokens(result: Result, tokens: dict[str, str]) -> None:
    text = result.body.decode("latin-1") + repr(result.headers)
    for token in tokens.values():
        for segment in token.split("."):
            assert segment not in text


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
