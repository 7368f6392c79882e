"""What a row's seal covers: an HMAC-SHA-256 (RFC 2104) over everything that the row claims about the keys.

The key lives outside the database, so write access to the table is not enough to make the fleet trust a
key. A seal is one version octet, an eight-octet key id and the 32-octet tag; every field of the message is
preceded by its length, and None differs from the empty string.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Literal

from .effects import Content

MIN_KEY_BYTES = 32
FORMAT = b"\x01"
KEY_ID_BYTES = 8
SEAL_BYTES = len(FORMAT) + KEY_ID_BYTES + hashlib.sha256().digest_size

Finding = Literal["good", "stranger", "forged"]


class Sealer:
    """Seals rows with the first key and recognises the seals of all; without keys, everything is good."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {_key_id(key): key for key in keys}
        self._current = _key_id(keys[0]) if keys else None

    def seal(self, source_key: str, content: Content) -> bytes | None:
        """The seal of the content under the current key, or None when there are no keys."""
        if self._current is None:
            return None
        return FORMAT + self._current + self._tag(self._current, source_key, content)

    def inspect(self, source_key: str, content: Content, seal: bytes | None) -> Finding:
        """Judge a seal: `stranger` is one by a key that is not ours, `forged` all else that is not good."""
        if self._current is None:
            return "good"
        if seal is None or len(seal) != SEAL_BYTES or seal[:1] != FORMAT:
            return "forged"
        key_id, tag = seal[1 : 1 + KEY_ID_BYTES], seal[1 + KEY_ID_BYTES :]
        if key_id not in self._keys:
            return "stranger"
        return "good" if hmac.compare_digest(tag, self._tag(key_id, source_key, content)) else "forged"

    def _tag(self, key_id: bytes, source_key: str, content: Content) -> bytes:
        fields = (
            FORMAT,
            key_id,
            source_key.encode(),
            str(content.generation).encode(),
            str(content.fetched_us).encode(),
            str(content.expires_us).encode(),
            None if content.etag is None else content.etag.encode(),
            None if content.last_modified is None else content.last_modified.encode(),
            content.payload,
        )
        message = b"".join(b"-" if field is None else b"%d:%b" % (len(field), field) for field in fields)
        return hmac.digest(self._keys[key_id], message, "sha256")


def _key_id(key: bytes) -> bytes:
    return hmac.digest(key, b"skeldir_jwt_mw seal key id", "sha256")[:KEY_ID_BYTES]
