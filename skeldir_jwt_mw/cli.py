"""`skeldir-jwt`, the command for operators; its parts need click, which comes with the extra `[cli]`."""

from __future__ import annotations

import sys

from .extras import what_to_install
from .printable import printable
from .report import EXPECTED, MISCONFIGURED, REFUSED, exit_of


def main() -> None:
    """Run the command; exit code 0 done, 1 refused or not ready, 2 wrong usage or settings, 3 unavailable."""
    try:
        sys.exit(_run())
    except ModuleNotFoundError as missing:
        if (text := what_to_install(missing)) is None:
            raise
        sys.exit(_say(text, MISCONFIGURED))
    except EXPECTED as error:
        code, text = exit_of(error)
        sys.exit(_say(text, code))


def _run() -> int:
    import click

    from .commands import group

    try:
        code: object = group.main(prog_name="skeldir-jwt", standalone_mode=False)
    except click.ClickException as wrong:
        if isinstance(wrong, click.UsageError) and wrong.ctx is not None:
            usage = f"{wrong.ctx.get_usage()}\nTry '{wrong.ctx.command_path} --help' for help.\n"
            click.echo(usage, err=True)
        # It quotes the arguments, and a token may be among them.
        click.echo(f"Error: {printable(wrong.format_message())}", err=True)
        code = wrong.exit_code
    except click.Abort:
        code = REFUSED
    return code if isinstance(code, int) else 0


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"skeldir-jwt: {text}\n")
    return code
