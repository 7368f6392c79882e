"""The named statements: how they are composed, and that a session uses each with the parameters it names."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from importlib import resources
from typing import Any

import pytest

from skeldir_jwt_mw.core.effects import Claim, Content, Fail, Publish, Read, Release, StoreContended
from skeldir_jwt_mw.stores.session import StatementSession, advisory_key
from skeldir_jwt_mw.stores.statements import STATEMENTS, compose

TEXT = resources.files("skeldir_jwt_mw.stores").joinpath("statements.sql").read_text(encoding="utf-8")
PREDICATES = ("NEWER", "DUE", "LEASED", "FLOORED", "BACKED_OFF")


def test_fragments_are_put_in_at_any_depth_and_comments_left_out() -> None:
    fragments = "-- why\n-- fragment: A\nx = {B}\n-- about B\n-- fragment: B\n1\n"
    assert compose(fragments + "-- name: ask\nSELECT {A}\n-- the end\n") == {"ask": "SELECT x = 1"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("-- name: ask\nSELECT {A}\n", id="unknown"),
        pytest.param("-- fragment: A\n{A}\n-- name: ask\nSELECT {A}\n", id="of itself"),
        pytest.param("-- fragment: A\n1\n-- name: ask\nSELECT 1\n", id="unused"),
        pytest.param("-- name: ask\nSELECT 1\n-- name: ask\nSELECT 2\n", id="statement twice"),
        pytest.param("-- fragment: A\n1\n-- fragment: A\n2\n-- name: ask\nSELECT {A}\n", id="fragment twice"),
    ],
)
def test_a_slip_in_the_file_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"fragment|twice"):
        compose(text)


def test_each_predicate_is_written_once_and_judges_snapshot_and_newest_version_alike() -> None:
    for name in PREDICATES:
        assert TEXT.count(f"-- fragment: {name}\n") == 1
        written = TEXT.partition(f"-- fragment: {name}\n")[2].partition("\n\n")[0]
        composed = compose(f"-- name: one\n{{{name}}}\n{fragments_only()}")["one"]
        assert STATEMENTS["claim"].count(composed) == 2, written
        assert STATEMENTS["read"].count(composed) == 1


def fragments_only() -> str:
    """The fragments, and a statement that uses each."""
    names = re.findall(r"^-- fragment: (\w+)$", TEXT, re.MULTILINE)
    fragments = re.sub(r"^-- name: \w+\n(?:(?!--).*\n)+", "", TEXT, flags=re.MULTILINE)
    return f"{fragments}\n-- name: all\n" + " ".join(f"{{{name}}}" for name in names)


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_a_statement_is_one_and_leaves_nothing_behind_in_a_pooled_connection(statement: str) -> None:
    assert ";" not in statement
    assert "{" not in statement
    assert not re.search(r"\b(LISTEN|NOTIFY|PREPARE|TEMP)\b|\bSET\s+(LOCAL|SESSION)\b", statement)
    assert not re.search(r"\bpg_(try_)?advisory_lock\b", statement)
    assert re.sub(r"%\(\w+\)s", "", statement).count("%") == 0  # psycopg2 and psycopg 3 read both alike


class Recorder:
    """A connection that answers every statement with the same row, if any."""

    def __init__(self, row: dict[str, Any] | None) -> None:
        self.row = row
        self.sent: dict[str, set[str]] = {}

    def run(
        self, statement: str, parameters: Mapping[str, Any], *, creating: bool = False
    ) -> dict[str, Any] | None:
        self.sent[statement] = set(parameters)
        assert creating == (statement == STATEMENTS["create"])
        return self.row

    def patience(self) -> float:
        return 3.0

    def close(self) -> None:
        """Nothing to close."""


def test_every_statement_is_used_with_exactly_the_parameters_that_it_names() -> None:
    recorder = Recorder(None)
    session = StatementSession(recorder)
    owner = uuid.uuid4()
    judging: dict[str, Any] = {
        "force": False,
        "need": False,
        "have": 0,
        "bad": -1,
        "floor": 5,
        "refresh": 300,
    }
    with pytest.raises(StoreContended):
        session.claim("key", Claim(owner=owner, lease=5, reason="cold", use_gate=True, **judging))
    assert session.read("key", Read(**judging)) is None
    assert not session.peek("key").running
    content = Content(generation=1, fetched_us=0, expires_us=0, etag=None, last_modified=None, payload=b"")
    for coordinated in (True, False):
        publish = Publish(owner=owner, content=content, next_us=0, seal=None, coordinated=coordinated)
        assert not session.publish("key", publish)
    fail = Fail(owner=owner, fence=1, error="", retry_after=0, backoff_base=2, backoff_max=60, jitter=0)
    assert session.fail("key", fail) is None
    assert not session.release("key", Release(owner=owner, fence=1))
    assert recorder.sent.keys() == set(STATEMENTS.values())
    for statement, names in recorder.sent.items():
        named = set(re.findall(r"%\((\w+)\)s", statement))
        assert named <= names
        if statement not in (STATEMENTS["publish_uncoordinated"],):  # it takes the guarded one's
            assert named == names


def test_the_advisory_lock_has_the_same_number_everywhere() -> None:
    """Fleets of mixed versions must agree on it."""
    assert advisory_key("a source") == advisory_key("a source") == 5091047890396020498
    assert advisory_key("a source") != advisory_key("another source")
    assert all(-(2**63) <= advisory_key(str(number)) < 2**63 for number in range(100))
