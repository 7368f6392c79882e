"""Verifiers for the hostile corpus: one for each key set, as a service would configure it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from crafting import AUDIENCE, ISSUER

from skeldir_jwt_mw import Issuer, Verifier
from skeldir_jwt_mw.sources import CallableSource


class Judges:
    """Makes and keeps verifiers; two that trust the same keys are one."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._made: dict[str, Verifier] = {}

    def of(self, keys: Mapping[str, Any]) -> Verifier:
        """The verifier that trusts this key set, with the keys at hand."""
        document = json.dumps({"keys": keys["keys"]})
        verifier = self._made.get(document)
        if verifier is None:
            # Not a fixed set: that refuses secrets at construction, and here they are to be left out.
            source = CallableSource(lambda: document, identity="hostile")
            verifier = Verifier([Issuer(ISSUER, audience=AUDIENCE, source=source)], **self._options)
            verifier.warm()
            self._made[document] = verifier
        return verifier

    def close(self) -> None:
        """Close all of them."""
        for verifier in self._made.values():
            verifier.close()
