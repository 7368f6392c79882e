"""What the operator of a service is told of its refreshes, without flooding the log."""

from __future__ import annotations

import logging

from .core.effects import Report
from .core.keys import KeySet
from .log_lines import tell

logger = logging.getLogger("skeldir_jwt_mw")


class Reports:
    """Tells of one issuer; `last_error` is the latest reason why it has no newer keys, None after a success.

    Called outside of every lock: a handler of the log may block, raise, or ask the verifier for its status.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._told: set[str] = set()  # what was told once
        self.last_error: str | None = None  # written by whoever tells, read by anyone

    def tell(self, report: Report) -> None:
        """Log what a script reports."""
        name, detail = self._name, report.detail
        match report.event:
            case "refreshed":
                tell(logger.info, "fetched the keys of %s (%s)", name, detail)
            case "forged_row":
                self.last_error = f"the shared row was tampered with: {detail}"
                tell(logger.warning, "the shared row of %s was tampered with: %s", name, detail)
            case "stranger_row":
                self.last_error = f"the shared row is {detail}"
                self._tell_once(
                    "stranger",
                    "the shared row of %s is not ours: %s (two services? give each a namespace)",
                    detail,
                )
            case "private_key":
                self._tell_once("private", "about the keys of %s: %s; tell the provider", detail)
            case "fetch_failed":
                self.last_error = detail
                tell(logger.warning, "fetching the keys of %s failed: %s", name, detail)
            case "store_failed":
                self.last_error = detail
                tell(logger.warning, "the store of %s gave no answer: %s", name, detail)
            case "failed_here":
                self.last_error = detail
                tell(logger.error, "the keys of %s could not be fetched from here: %s", name, detail)

    def adopted(self, keys: KeySet | None) -> None:
        """A refresh brought keys, None where they are the same as before."""
        self.last_error = None
        if keys is not None and len(keys) == 0:
            tell(logger.error, "no key of %s fits the algorithms that it is configured for", self._name)

    def lost(self) -> None:
        """A refresh will not come to an end."""
        tell(logger.info, "a refresh of the keys of %s was lost with its thread, or by a freeze", self._name)

    def no_thread(self) -> None:
        """A refresh could not begin."""
        self.last_error = "no thread could be started"
        tell(logger.error, "no thread could be started to refresh the keys of %s", self._name)

    def broken_off(self, kind: str, where: str) -> None:
        """A bug ended a refresh; its own text may hold a secret and is not shown."""
        self.last_error = f"the refresh broke off: {kind}"
        tell(logger.error, "the refresh of %s broke off: %s\n%s", self._name, kind, where)

    def _tell_once(self, what: str, text: str, detail: str) -> None:
        if what not in self._told:
            self._told.add(what)
            tell(logger.warning, text, self._name, detail)
