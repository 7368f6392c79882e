"""The README's two set-up commands: the lines of the `sh` block under "## Two commands".

`python tests/guards/readme.py` prints them, one a line, for CI to run as they are written.
"""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
SECTION = re.compile(r"^## Two commands$.*?^```sh$\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """The commands as they are written, comments and blank lines left out."""
    found = SECTION.search(README.read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit('README.md has no ```sh block under "## Two commands"')
    return [line for line in found[1].splitlines() if line and not line.startswith("#")]


if __name__ == "__main__":
    print("\n".join(commands()))  # noqa: T201  # the output is this script's purpose
