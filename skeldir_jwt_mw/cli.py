"""`skeldir-jwt`, the command for operators; its parts need click, which comes with the extra `[cli]`."""

from __future__ import annotations

import sys

from .extras import what_to_install
from .report import EXPECTED, MISCONFIGURED, exit_of


def main() -> None:
    """Run the command; exit code 0 done, 1 refused or not ready, 2 wrong usage or settings, 3 unavailable."""
    try:
        from .commands import group

        group(prog_name="skeldir-jwt")
    except ModuleNotFoundError as missing:
        if (text := what_to_install(missing)) is None:
            raise
        sys.exit(_say(text, MISCONFIGURED))
    except EXPECTED as error:
        code, text = exit_of(error)
        sys.exit(_say(text, code))


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"skeldir-jwt: {text}\n")
    return code
