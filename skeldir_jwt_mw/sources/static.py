"""Keys that never change while the process lives."""

from __future__ import annotations

import hashlib

from skeldir_jwt_mw.core.effects import Conditional, Fetched
from skeldir_jwt_mw.errors import ConfigurationError

from .document import Document, document_of


class StaticSource:
    """A fixed JWKS (mapping, JSON text or bytes) or key ring `{"keys": {kid: PEM}}`; the store is never used.

    In a key ring `current_kid` and `previous_kids`, where present, are checked to name keys in it. Raises
    `ConfigurationError` for private keys, an unusable key in a key ring, and a JWKS without usable ones.
    """

    static = True

    def __init__(self, keys: Document) -> None:
        from skeldir_jwt_mw.core.keys import import_jwks

        try:
            self._document, is_ring = document_of(keys)
            imported = import_jwks(self._document)
        except ValueError as error:  # UnusableForm, UnusableKeyRing, UnusableDocument: fixed texts
            raise ConfigurationError(f"the static key set cannot be used: {error}") from None
        if imported.private_members:
            raise ConfigurationError(
                "the static key set holds a private key; a verifier needs the public ones alone"
            )
        if is_ring and imported.rejected:
            key = imported.rejected[0]
            raise ConfigurationError(
                f"key {key.index + 1} of the static key ring cannot be used: {key.reason}"
            )
        self.identity = f"static:{hashlib.sha256(self._document).hexdigest()}"

    def fetch(self, conditional: Conditional) -> Fetched:  # noqa: ARG002  # nothing to compare with
        """Return the document; it never fails."""
        return Fetched(document=self._document)
