"""Strings that must not turn up anywhere, and all the places where they might."""

from __future__ import annotations

import base64
import logging
import secrets
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MIN_PIECE = 12  # characters of a token's part that are no coincidence


class Canaries:
    """Makes secrets, remembers them in every form in which they could be shown, and looks for them."""

    def __init__(self) -> None:
        self._forms: dict[str, str] = {}  # form -> what it is of

    def text(self, what: str) -> str:
        """A secret text."""
        made = f"zQ7{secrets.token_hex(8)}"
        self.keep(what, made)
        return made

    def keep(self, what: str, secret: str | bytes) -> None:
        """Remember a secret that was made elsewhere."""
        octets = secret if isinstance(secret, bytes) else secret.encode()
        encoded = base64.b64encode(octets).decode().rstrip("=")
        forms = [encoded, encoded.translate(str.maketrans("+/", "-_")), octets.hex(), repr(octets)[2:-1]]
        if isinstance(secret, str):
            forms.append(secret)
        self._forms.update(dict.fromkeys(forms, what))

    def token(self, token: str) -> str:
        """Remember the parts of a token; returns it."""
        for part in token.split("."):
            if len(part) >= MIN_PIECE:
                self._forms[part] = "a token's part"
                self._forms[part[-MIN_PIECE:]] = "a token's part"
        return token

    def found_in(self, text: str) -> set[str]:
        """What of them the text shows."""
        return {what for form, what in self._forms.items() if form in text}

    def assert_none_in(self, where: str, text: str) -> None:
        """Fail with the place, and what was found there."""
        found = self.found_in(text)
        assert not found, f"{where} shows {', '.join(sorted(found))}: {text[:2000]}"

    def assert_none_in_error(self, error: BaseException) -> None:
        """Everything that could be shown of an error, and of those that led to it, suppressed ones too."""
        seen: set[int] = set()
        waiting: list[BaseException | None] = [error]
        while waiting:
            one = waiting.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            members = [vars(one)] if hasattr(one, "__dict__") else []
            shown = (str(one), repr(one), one.args, members, getattr(one, "__notes__", []))
            self.assert_none_in(f"{type(one).__name__}", " ".join(map(repr, shown)) + str(one))
            waiting += [one.__cause__, one.__context__]
        self.assert_none_in("a traceback", "".join(traceback.format_exception(error)))


class _Everything(logging.Handler):
    """Keeps all that a record holds, in every form that a formatter could give it."""

    def __init__(self) -> None:
        super().__init__(level=1)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        own = {name: value for name, value in vars(record).items() if name not in ("args", "exc_info")}
        parts = [record.name, record.getMessage(), repr(record.args), repr(own)]
        if record.exc_info:
            parts += traceback.format_exception(*record.exc_info)
        self.texts.append("\n".join(parts))


@contextmanager
def listening() -> Iterator[list[str]]:
    """All log records of all loggers of the process meanwhile, at every level."""
    root = logging.getLogger()
    handler = _Everything()
    loggers = [root, *(logging.getLogger(name) for name in list(root.manager.loggerDict))]
    before = [(logger, logger.level, logger.propagate, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.setLevel(1)
        logger.propagate, logger.disabled = True, False
    root.addHandler(handler)
    try:
        yield handler.texts
    finally:
        root.removeHandler(handler)
        for logger, level, propagate, disabled in before:
            logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, disabled


def shown(thing: Any) -> str:
    """How an object shows itself."""
    return f"{thing!r} {thing} {thing:{''}}"
