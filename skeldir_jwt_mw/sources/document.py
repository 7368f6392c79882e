"""A JWKS in any of the forms that people hold it in, as the bytes that sources return."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from skeldir_jwt_mw.core.compact import parse_object

from .base import MAX_DOCUMENT_BYTES
from .key_ring import jwks_of

Document: TypeAlias = Mapping[str, Any] | str | bytes


class UnusableForm(ValueError):
    """It is neither a JWKS nor a key ring; the text is fixed and holds nothing of it."""


class Converted(NamedTuple):
    """A JWKS document, and whether it was a key ring before."""

    document: bytes
    is_ring: bool


def document_of(given: object) -> Converted:
    """The JWKS document (RFC 7517 §5) of a JWKS or a key ring that is a mapping, JSON text or bytes.

    A JWKS in JSON stays byte for byte as it is. Raises `UnusableForm`, and `UnusableKeyRing` for a key ring.
    """
    text: bytes | None = None
    if isinstance(given, str | bytes | bytearray):
        try:
            text = given.encode() if isinstance(given, str) else bytes(given)
            members: Mapping[str, Any] = parse_object(text) if len(text) <= MAX_DOCUMENT_BYTES else {}
        except ValueError:
            raise UnusableForm("the key set is not a strict JSON object") from None
    elif isinstance(given, Mapping):
        members = given
    else:
        raise UnusableForm(f"the key set must be a mapping, text or bytes, not {type(given).__name__}")
    is_ring = isinstance(members.get("keys"), Mapping)
    if is_ring:
        members, text = jwks_of(members), None
    if text is None:
        try:
            text = json.dumps(dict(members), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):
            raise UnusableForm("the key set holds what JSON cannot") from None
    if len(text) > MAX_DOCUMENT_BYTES:
        raise UnusableForm("the key set is larger than 256 KiB")
    return Converted(text, is_ring)
