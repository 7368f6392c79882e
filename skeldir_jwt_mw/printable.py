"""Text that others have chosen, made fit for a terminal, a log line or a page."""

from __future__ import annotations


def printable(text: object) -> str:
    """The text on one line, with each character that shows nothing of itself written as Python escapes it.

    These are the controls (C0, C1, DEL), line and paragraph separators, marks of direction and of format,
    lone surrogates, and what Unicode has not assigned: nobody can move the cursor, colour, hide, turn round
    or add a line with what is left.
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)
