"""Verifiers for the hostile corpus: one for each key set, as a service would configure it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from crafting import AUDIENCE, ISSUER

from skeldir_jwt_mw import InvalidToken, Issuer, JWTError, VerifiedToken, Verifier
from skeldir_jwt_mw.sources import CallableSource, Source

MakeIssuers: TypeAlias = Callable[[Source], Sequence[Issuer]]


def only(source: Source) -> Sequence[Issuer]:
    """The one issuer, with everything at its default."""
    return [Issuer(ISSUER, audience=AUDIENCE, source=source)]


class Judges:
    """Makes and keeps verifiers; two that trust the same keys are one.

    `issuers` makes the configuration around the source of the keys, `members` are added to every key, and
    the rest are options of `Verifier`.
    """

    def __init__(
        self, issuers: MakeIssuers = only, members: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        self._issuers, self._members, self._options = issuers, members or {}, options
        self._made: dict[str, Verifier] = {}

    def of(self, keys: Mapping[str, Any]) -> Verifier:
        """The verifier that trusts this key set, with the keys at hand."""
        marked = [{**self._members, **key} if isinstance(key, dict) else key for key in keys["keys"]]
        document = json.dumps({"keys": marked})
        verifier = self._made.get(document)
        if verifier is None:
            # Not a fixed set: that refuses secrets at construction, and here they are to be left out.
            source = CallableSource(lambda: document, identity="hostile")
            verifier = Verifier(self._issuers(source), **self._options)
            verifier.warm()
            self._made[document] = verifier
        return verifier

    def close(self) -> None:
        """Close all of them."""
        for verifier in self._made.values():
            verifier.close()


Verdict: TypeAlias = VerifiedToken | str
"""The token, the code of its refusal, or the name of an exception that has no business here."""


def verdict(verifier: Verifier, raw: Any) -> Verdict:
    """What `verify` says."""
    try:
        return verifier.verify(raw)
    except Exception as error:  # foreign ones are what is looked for
        return _told(error)


async def averdict(verifier: Verifier, raw: Any) -> Verdict:
    """What `averify` says."""
    try:
        return await verifier.averify(raw)
    except Exception as error:
        return _told(error)


def _told(error: Exception) -> str:
    if isinstance(error, InvalidToken):
        return error.code
    return f"{type(error).__name__} {error.code if isinstance(error, JWTError) else ''}"
