"""The keys that seal a shared store's rows: as bytes or base64, long enough, and never part of a text."""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import os
from collections.abc import Mapping, Sequence

from .environment import seal_keys_text
from .errors import ConfigurationError

MIN_BYTES = 32
NONE = "none"  # what opts out, where a text is all that there is

logger = logging.getLogger("skeldir_jwt_mw")


def seal_keys_from_env(environ: Mapping[str, str] | None = None) -> tuple[bytes, ...] | None:
    """The keys in `SKELDIR_JWT_SEAL_KEYS`, or in `SKELDIR_JWT_CONFIG`, for `Verifier(seal_keys=...)`.

    `environ` is the process's environment if left out. None where there are none, `()` where they were opted
    out of. Raises `ConfigurationError`, without showing a key.
    """
    name, given = seal_keys_text(os.environ if environ is None else environ)
    try:
        return read_seal_keys(given)
    except ConfigurationError as error:
        raise ConfigurationError(str(error).replace("seal_keys", name, 1)) from None


def require_seal_keys(seal_keys: Sequence[bytes] | str | None, *, shared: bool) -> tuple[bytes, ...]:
    """The keys, judged; `shared` tells whether the store's rows leave the process.

    A text is read as the variable is: base64, separated by commas, all of it. A shared store needs keys, or
    the explicit `()`, which is warned about: then whoever can write to the table can have tokens accepted.
    Raises `ConfigurationError`, without showing a key.
    """
    if seal_keys is None:
        if not shared:
            return ()
        raise ConfigurationError(
            "seal_keys is missing: a shared store needs a key of 32 bytes that is kept outside the database;"
            " `skeldir-jwt seal-key` prints one for SKELDIR_JWT_SEAL_KEYS"
            f" (an empty list, or SKELDIR_JWT_SEAL_KEYS={NONE}, goes without)"
        )
    given: object = seal_keys
    if isinstance(given, str):
        given = read_seal_keys(given) or ()
    if isinstance(given, (bytes, bytearray)) or not isinstance(given, Sequence):
        raise ConfigurationError("seal_keys (***) must be a sequence of keys, such as [key]")
    for number, key in enumerate(given, 1):
        if not isinstance(key, bytes):
            raise ConfigurationError(f"seal_keys (entry {number}, ***) must be bytes")
        if len(key) < MIN_BYTES:
            raise ConfigurationError(
                f"seal_keys (entry {number}, {len(key)} bytes) must be at least {MIN_BYTES} bytes long;"
                " `skeldir-jwt seal-key` prints a key"
            )
    if shared and not given:
        logger.warning("rows are not sealed: whoever can write to the table can have tokens accepted")
    return tuple(given)


def read_seal_keys(value: object) -> tuple[bytes, ...] | None:
    """Keys from a setting: bytes or base64 in a list, or base64 in a comma-separated text; `none` opts out.

    None stays None. Raises `ConfigurationError`, without showing a key.
    """
    if value is None:
        return None
    if isinstance(value, str):
        if value.strip().lower() == NONE:
            return ()
        value = value.split(",")
    if not isinstance(value, (list, tuple)):
        raise ConfigurationError("seal_keys (***) must be a list of keys")
    keys = [_decoded(number, key) if isinstance(key, str) else key for number, key in enumerate(value, 1)]
    return require_seal_keys(keys, shared=False)


def _decoded(number: int, text: str) -> bytes:
    """The bytes of a base64 text, in either alphabet of RFC 4648 (§4, §5), padded or not."""
    # Raised outside of the handler, and what is not ASCII asked for beforehand: the errors hold the key.
    key = None
    if text.isascii():
        standard = text.strip().rstrip("=").replace("-", "+").replace("_", "/").encode()
        with contextlib.suppress(binascii.Error, ValueError):
            key = base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)
    if key is None:
        rule = "must be base64; `skeldir-jwt seal-key` prints a key"
        raise ConfigurationError(f"seal_keys (entry {number}, ***) {rule}")
    return key
