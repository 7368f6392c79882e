"""What the operator of a service is told of its refreshes, without flooding the log."""

from __future__ import annotations

import logging

from .core.effects import Report
from .core.jwk import OTHER_USE
from .core.keys import KeySet, RejectedKey
from .log_lines import tell
from .snapshot import Snapshot

MAX_NAMED = 8  # keys in one line of the log
MAX_KEY_ID = 64  # characters of a key id there
MAX_SETS = 16  # of keys that were told of, remembered

logger = logging.getLogger("skeldir_jwt_mw")


class Reports:
    """Tells of one issuer.

    Called outside of every lock: a handler of the log may block, raise, or ask the verifier for its status.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._told: set[str] = set()  # what was told once
        self._told_sets: set[frozenset[tuple[str | None, str]]] = set()  # of keys that were left out
        self._keys: KeySet | None = None  # the latest that was looked at
        # Why there are no newer keys; whoever puts keys to use forgets it, before another refresh can fail.
        self.failure: str | None = None

    def last_error(self, snapshot: Snapshot | None) -> str | None:
        """Why there are no newer keys, or none that fits; None after a success."""
        unfit = snapshot is not None and len(snapshot.keys) == 0
        return self.failure or ("no key is for one of the configured algorithms" if unfit else None)

    def tell(self, report: Report) -> None:
        """Log what a script reports."""
        name, detail = self._name, report.detail
        match report.event:
            case "refreshed":
                tell(logger.info, "fetched the keys of %s (%s)", name, detail)
            case "forged_row":
                self.failure = f"the shared row was tampered with: {detail}"
                tell(logger.warning, "the shared row of %s was tampered with: %s", name, detail)
            case "stranger_row":
                self.failure = f"the shared row is {detail}"
                self._tell_once(
                    "stranger",
                    "the shared row of %s is not ours: %s (two services? give each a namespace)",
                    detail,
                )
            case "private_key":
                self._tell_once("private", "about the keys of %s: %s; tell the provider", detail)
            case "fetch_failed":
                self.failure = detail
                tell(logger.warning, "fetching the keys of %s failed: %s", name, detail)
            case "store_failed":
                self.failure = detail
                tell(logger.warning, "the store of %s gave no answer: %s", name, detail)
            case "failed_here":
                self.failure = detail
                tell(logger.error, "the keys of %s could not be fetched from here: %s", name, detail)

    def look_at(self, snapshot: Snapshot | None) -> None:
        """Tell what is wrong with the keys that are in use; nothing where they were looked at before."""
        if snapshot is None or snapshot.keys is self._keys:
            return
        self._keys = keys = snapshot.keys
        if len(keys) == 0:
            tell(logger.error, "no key of %s fits the algorithms that it is configured for", self._name)
        self._tell_of(keys.rejected)

    def _tell_of(self, rejected: tuple[RejectedKey, ...]) -> None:
        """Name keys that were left out: once for each set of them, and loudly unless all have another use."""
        this = frozenset((key.kid, key.reason) for key in rejected)
        if not this or this in self._told_sets:
            return
        if len(self._told_sets) == MAX_SETS:  # whoever publishes ever other ones is told of once per refresh
            self._told_sets.clear()
        self._told_sets.add(this)
        named = [_named(key) for key in rejected[:MAX_NAMED]]
        if more := len(rejected) - len(named):
            named.append(f"and {more} more")
        if all(key.reason == OTHER_USE for key in rejected):
            tell(logger.info, "the keys of %s hold some for another use: %s", self._name, ", ".join(named))
        else:
            tell(logger.warning, "left out of the keys of %s: %s", self._name, ", ".join(named))

    def lost(self) -> None:
        """A refresh will not come to an end."""
        tell(logger.info, "a refresh of the keys of %s was lost with its thread, or by a freeze", self._name)

    def no_thread(self) -> None:
        """A refresh could not begin."""
        self.failure = "no thread could be started"
        tell(logger.error, "no thread could be started to refresh the keys of %s", self._name)

    def broken_off(self, kind: str, where: str) -> None:
        """A bug ended a refresh; its own text may hold a secret and is not shown."""
        self.failure = f"the refresh broke off: {kind}"
        tell(logger.error, "the refresh of %s broke off: %s\n%s", self._name, kind, where)

    def _tell_once(self, what: str, text: str, detail: str) -> None:
        if what not in self._told:
            self._told.add(what)
            tell(logger.warning, text, self._name, detail)


def _named(key: RejectedKey) -> str:
    """Quoted and cut: a provider that makes up key ids adds neither lines nor words of its own."""
    if key.kid is None:
        return f"key {key.index + 1} ({key.reason})"
    return f"{key.kid[:MAX_KEY_ID]!r}{'…' if len(key.kid) > MAX_KEY_ID else ''} ({key.reason})"
