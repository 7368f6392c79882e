"""Compares the whole answer of an adapter with what the request table promises."""

from __future__ import annotations

import json
import re

from calling import Adapter, Result
from identity import TENANT, user_key
from request_table import Case

from skeldir_jwt_mw._http import DESCRIPTIONS


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
