"""What follows a snapshot when something is adopted."""

from __future__ import annotations

import json
from dataclasses import replace

from skeldir_jwt_mw.core.effects import Content
from skeldir_jwt_mw.core.keys import import_jwks
from skeldir_jwt_mw.core.order import Adopted
from skeldir_jwt_mw.snapshot import Snapshot, fixed
from skeldir_jwt_mw.testing import SigningKey

ALGORITHMS = ("ES256",)


def adopted(kid: str, generation: int, expires_at: float, *, fetched_us: int = 1) -> Adopted:
    document = json.dumps({"keys": [SigningKey.generate(kid=kid).jwk()]}).encode()
    content = Content(
        generation=generation,
        fetched_us=fetched_us,
        expires_us=2,
        etag=None,
        last_modified=None,
        payload=document,
    )
    return Adopted(
        content=content, jwks=import_jwks(document), fetched_at=0.0, refresh_at=1.0, expires_at=expires_at
    )


def again(given: Adopted, generation: int, expires_at: float) -> Adopted:
    """The same document at another time."""
    return replace(given, content=replace(given.content, generation=generation), expires_at=expires_at)


def test_the_first_is_what_was_adopted() -> None:
    snapshot = Snapshot.after(None, adopted("one", 5, 100.0), ALGORITHMS)
    assert (snapshot.keys.kids, snapshot.generation, snapshot.expires_at) == (("one",), 5, 100.0)


def test_a_newer_document_replaces_the_keys() -> None:
    old = Snapshot.after(None, adopted("one", 5, 100.0), ALGORITHMS)
    assert Snapshot.after(old, adopted("two", 6, 90.0), ALGORITHMS).keys.kids == ("two",)


def test_r55_an_older_generation_changes_nothing() -> None:
    old = Snapshot.after(None, adopted("one", 5, 100.0), ALGORITHMS)
    assert Snapshot.after(old, adopted("removed", 4, 900.0), ALGORITHMS) is old


def test_the_same_document_extends_times_and_keeps_the_keys() -> None:
    given = adopted("one", 5, 100.0)
    old = Snapshot.after(None, given, ALGORITHMS)
    new = Snapshot.after(old, again(given, 6, 200.0), ALGORITHMS)
    assert new.keys is old.keys
    assert new.bindings is old.bindings
    assert (new.generation, new.expires_at) == (6, 200.0)


def test_within_one_generation_the_expiry_only_moves_earlier() -> None:
    given = adopted("one", 5, 100.0)
    old = Snapshot.after(None, given, ALGORITHMS)
    assert Snapshot.after(old, again(given, 5, 200.0), ALGORITHMS).expires_at == 100.0
    assert Snapshot.after(old, again(given, 5, 50.0), ALGORITHMS).expires_at == 50.0


def test_a_fetch_past_the_store_extends_times_within_its_generation() -> None:
    given = adopted("one", 5, 100.0, fetched_us=0)
    old = Snapshot.after(None, given, ALGORITHMS)
    assert Snapshot.after(old, again(given, 5, 200.0), ALGORITHMS).expires_at == 200.0


def test_what_is_fixed_never_expires() -> None:
    given = fixed(adopted("one", 1, 1.0).content.payload, 7.0)
    assert (given.fetched_at, given.expires_at, given.refresh_at) == (7.0, float("inf"), float("inf"))
