"""Write access to the table is not enough: rows that were tampered with are refused and replaced."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from scene import TABLE, Scene, assert_all_verified, errors, until

from skeldir_jwt_mw.testing.issuer import LoopbackIssuer
from skeldir_jwt_mw.testing.tokens import SigningKey

ATTACKER = SigningKey.generate(kid="attacker")
ATTACKERS_DOCUMENT = json.dumps({"keys": [ATTACKER.jwk()]}).encode()
AHEAD = "generation = fence + 1000, fence = fence + 1000"


def swap_the_payload(scene: Scene) -> None:
    scene.change(f"payload = %s, {AHEAD}", ATTACKERS_DOCUMENT)


def swap_the_payload_under_its_generation(scene: Scene) -> None:
    scene.change("payload = %s", ATTACKERS_DOCUMENT)


def raise_the_generation(scene: Scene) -> None:
    scene.change(AHEAD)


def drop_the_seal(scene: Scene) -> None:
    scene.change(f"payload = %s, seal = NULL, {AHEAD}", ATTACKERS_DOCUMENT)


def extend_the_expiry(scene: Scene) -> None:
    scene.change("expires_at = expires_at + interval '1 year', fetched_at = fetched_at + interval '1 ms'")


def copy_the_row_of_another_source(scene: Scene) -> None:
    """The attacker has a service of his own under the same seal key, and its row is well sealed."""
    ours = scene.service
    scene.provider.serve(ATTACKERS_DOCUMENT.decode())
    scene.fleet.grow(scene.size + 1)
    theirs = scene.setup(seal_keys=ours.seal_keys)
    scene.fleet.become(theirs, [scene.size])
    token = scene.provider.stranger_token(kid="attacker")
    assert errors(scene.fleet.verify(token, workers=[scene.size])) == {"bad_signature"}
    scene.provider.serve(None)
    scene.record_is_ours = False
    columns = "payload, seal, etag, last_modified, fetched_at, next_refresh_at, expires_at, generation, fence"
    with scene.database() as connection:
        done = connection.execute(
            f"UPDATE {TABLE} SET ({columns}) ="
            f" (SELECT {columns} FROM {TABLE} WHERE source_key = %s) WHERE source_key = %s".encode(),
            [scene.source_key(theirs), scene.source_key(ours)],
        )
    assert done.rowcount == 1


@pytest.mark.parametrize(
    "tamper",
    [
        swap_the_payload,
        swap_the_payload_under_its_generation,
        raise_the_generation,
        drop_the_seal,
        extend_the_expiry,
        copy_the_row_of_another_source,
    ],
)
def test_r55_a_tampered_row_is_refused_and_recovered_from(
    scene: Scene, tamper: Callable[[Scene], None]
) -> None:
    # The attacker's kid has the keys fetched anew each floor: long enough for all to agree meanwhile.
    scene.start(4, check_interval=0.2, floor=1.0)
    service = scene.service
    good = scene.warm()
    attackers = attackers_token(scene)
    tamper(scene)
    tampered = scene.row(service)
    scene.restart([2, 3], service)  # these meet it cold, and the others with keys at hand

    assert_all_verified(scene.verify(good), 4)
    refusals = {"unknown_kid", "keys_unavailable/row_refused"}
    assert errors(scene.verify(attackers)) <= refusals

    # Some worker has fetched over it, and everybody uses what that one has published.
    def recovered() -> bool:
        assert errors(scene.verify(attackers)) <= refusals
        assert errors(scene.verify(good)) == {None}
        generations = {status["generation"] for status in scene.statuses()}
        return generations == {scene.row()["generation"]}

    until(recovered)
    row = scene.row()
    assert row["seal"] not in (None, tampered["seal"])
    assert row["payload"] != ATTACKERS_DOCUMENT
    assert row["generation"] > tampered["generation"]
    assert row["expires_at"] - row["fetched_at"] == max_stale(scene)
    assert "tampered" in {state["last_refresh_reason"] for state in scene.record()}


def attackers_token(scene: Scene) -> str:
    """Right in everything, and signed by the attacker's key under its kid."""
    with LoopbackIssuer() as minting:
        return minting.token(key=ATTACKER, iss=scene.provider.issuer, iat=int(time.time()) - 180)


def max_stale(scene: Scene) -> timedelta:
    return timedelta(seconds=float(scene.service.policy["max_stale"]))


def test_r55_validators_come_from_checked_keys_and_never_from_the_row(scene: Scene) -> None:
    scene.start(3, check_interval=0.1)
    good = scene.warm()
    scene.change(
        "etag = '\"planted\"', last_modified = 'Sun, 01 Nov 2026 00:00:00 GMT', next_refresh_at = now()"
    )
    until(lambda: errors(scene.verify(good)) == {None} and scene.provider.not_modified > 0)
    scene.provider.rotate()
    assert_all_verified(scene.verify(scene.provider.token()), 3)
    headers = [request.headers for request in scene.provider.requests]
    assert [seen for seen in headers if "planted" in seen.get("if-none-match", "")] == []
    assert [seen for seen in headers if "if-modified-since" in seen] == []
    assert scene.row()["etag"] not in (None, '"planted"')
