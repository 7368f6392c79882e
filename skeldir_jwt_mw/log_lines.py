"""What goes into the log: our own words, and in them what others have chosen, printable and on one line."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable

from .printable import printable

_SLOT = re.compile(r"(\n?)%[a-zA-Z]")


def tell(log: Callable[..., None], text: str, *arguments: object) -> None:
    """Log what a request or a refresh has to tell: what the service's own handlers raise stops neither."""
    with contextlib.suppress(Exception):
        log(text, *arguments, stacklevel=2)


class PrintableArguments(logging.Filter):
    """Makes every text that is put into a log line printable, wherever in the package it is logged.

    A text that stands on lines of its own, as a traceback does, keeps its lines.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, with its arguments made printable."""
        if isinstance(record.args, tuple):
            own_lines = [bool(slot[1]) for slot in _SLOT.finditer(str(record.msg))]
            own_lines += [False] * (len(record.args) - len(own_lines))
            record.args = tuple(map(_shown, record.args, own_lines))
        return True


def _shown(argument: object, keeps_lines: bool) -> object:
    if isinstance(argument, (bool, int, float)) or argument is None:
        return argument  # for %d and its kin
    if keeps_lines:
        return "\n".join(map(printable, str(argument).split("\n")))
    return printable(argument)
