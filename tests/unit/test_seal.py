"""The seal covers everything that a row claims about the keys (R55)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest

from skeldir_jwt_mw.core.effects import Content
from skeldir_jwt_mw.core.seal import SEAL_BYTES, Sealer

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
CONTENT = Content(
    generation=7,
    fetched_us=1_000_000,
    expires_us=2_000_000,
    etag='"a"',
    last_modified="Mon, 23 Nov 2026 00:00:00 GMT",
    payload=b'{"keys":[]}',
)


def test_r55_a_seal_is_good_under_the_key_that_made_it() -> None:
    seal = Sealer([KEY]).seal("source", CONTENT)
    assert Sealer([KEY]).inspect("source", CONTENT, seal) == "good"


@pytest.mark.parametrize(
    "changed",
    [
        replace(CONTENT, generation=8),
        replace(CONTENT, fetched_us=1_000_001),
        replace(CONTENT, expires_us=2_000_001),
        replace(CONTENT, etag='"b"'),
        replace(CONTENT, etag=None),
        replace(CONTENT, last_modified=None),
        replace(CONTENT, last_modified=""),
        replace(CONTENT, payload=b'{"keys":[1]}'),
        replace(CONTENT, payload=b""),
        # The same octets, cut at another place: only the lengths tell them apart.
        replace(CONTENT, etag='"a"Mon', last_modified=", 23 Nov 2026 00:00:00 GMT"),
        replace(CONTENT, generation=71, fetched_us=000_000),
    ],
)
def test_r55_a_change_of_any_field_is_forged(changed: Content) -> None:
    sealer = Sealer([KEY])
    assert sealer.inspect("source", changed, sealer.seal("source", CONTENT)) == "forged"


def test_r55_a_row_moved_to_another_source_is_forged() -> None:
    sealer = Sealer([KEY])
    assert sealer.inspect("other", CONTENT, sealer.seal("source", CONTENT)) == "forged"


@pytest.mark.parametrize("seal", [None, b"", b"\x01" * 8, b"\x02" + b"\x00" * (SEAL_BYTES - 1)])
def test_r55_a_missing_short_or_unknown_seal_is_forged(seal: bytes | None) -> None:
    assert Sealer([KEY]).inspect("source", CONTENT, seal) == "forged"


def test_r55_every_flipped_bit_of_a_seal_is_noticed() -> None:
    sealer = Sealer([KEY])
    seal = sealer.seal("source", CONTENT)
    assert seal is not None
    for position in range(len(seal) * 8):
        flipped = bytearray(seal)
        flipped[position // 8] ^= 1 << position % 8
        assert sealer.inspect("source", CONTENT, bytes(flipped)) != "good"


def test_a_seal_by_a_key_that_is_not_ours_is_a_strangers() -> None:
    seal = Sealer([OTHER_KEY]).seal("source", CONTENT)
    assert Sealer([KEY]).inspect("source", CONTENT, seal) == "stranger"


def test_the_first_key_seals_and_all_keys_verify() -> None:
    old_seal = Sealer([OTHER_KEY]).seal("source", CONTENT)
    rotated = Sealer([KEY, OTHER_KEY])
    assert rotated.inspect("source", CONTENT, old_seal) == "good"
    assert Sealer([KEY]).inspect("source", CONTENT, rotated.seal("source", CONTENT)) == "good"


def test_a_known_key_id_with_anothers_tag_is_forged() -> None:
    ours, theirs = Sealer([KEY]).seal("source", CONTENT), Sealer([OTHER_KEY]).seal("source", CONTENT)
    assert ours is not None
    assert theirs is not None
    assert Sealer([KEY]).inspect("source", CONTENT, ours[:9] + theirs[9:]) == "forged"


def test_without_keys_nothing_is_sealed_and_everything_is_good() -> None:
    sealer = Sealer(())
    assert sealer.seal("source", CONTENT) is None
    assert sealer.inspect("source", CONTENT, None) == "good"


@pytest.mark.parametrize("etag", ['"a"', None])
def test_r55_the_form_of_a_seal_is_the_same_in_every_version(etag: str | None) -> None:
    """A fleet that is being updated shares rows between versions, so this form never changes."""
    key_id = hmac.digest(KEY, b"skeldir_jwt_mw seal key id", hashlib.sha256)[:8]
    shown = b"-" if etag is None else b'3:"a"'
    fields = b"1:\x01" + b"8:" + key_id + b"6:source" + b"1:7" + b"7:1000000" + b"7:2000000" + shown
    covered = fields + b"29:Mon, 23 Nov 2026 00:00:00 GMT" + b'11:{"keys":[]}'
    seal = b"\x01" + key_id + hmac.digest(KEY, covered, hashlib.sha256)
    assert Sealer([KEY]).seal("source", replace(CONTENT, etag=etag)) == seal
