"""How many small faults in the code that guards tokens its tests notice: `python tests/mutation.py [GROUP …]`

mutmut (`pip install 'mutmut>=3.8'`) changes one thing at a time in a copy of the tree, and runs those of the
group's tests that come through the function. The run fails where too few mutants are killed, and where one of
the core survives that docs/mutation.md does not list. `--folder DIR` keeps the copies and their results, and
goes on where an earlier run was ended.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from negative_controls import say

from skeldir_jwt_mw.testing.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "skeldir_jwt_mw"
PAGE = ROOT / "docs/mutation.md"
NOT_COPIED = (".git", ".venv", ".tox", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "mutants")
# Servers in processes of their own, which a mutant does not get into, what counts the modules imported or
# leaves no file descriptor to load one, and what knows functions by their names.
OUT_OF_REACH = (
    "uvicorn or gunicorn or sources_loading or without_file_descriptors or test_a_refused_token_gets_to"
    " or of_several_defects or no_token_is_not_read or costs_no_claims or no_payload_is_read"
    " or too_long_is_not_read"
)
GIVEN_DSN = "SKELDIR_JWT_TEST_DSN"
KILLED = ("killed", "timeout", "segfault")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Modules that are judged together, by the same tests."""

    modules: tuple[str, ...]  # files of the package
    tests: tuple[str, ...]  # what pytest is given
    least: float = 85.0  # percent that have to be killed
    explained: bool = False  # whether the page has to list every survivor
    at_once: int = os.cpu_count() or 1  # more where tests wait rather than compute


GROUPS: Mapping[str, Group] = {
    "core": Group(
        modules=("core/[!r]*.py", "core/refresh.py"),
        tests=("tests/unit", "tests/conformance"),
        least=95.0,
        explained=True,
    ),
    "row": Group(
        modules=("core/row.py",),
        tests=(
            "tests/unit/test_row.py",
            "tests/stores/test_row_and_sql.py",
            "tests/stores/test_memory_store.py",
        ),
        least=95.0,
        explained=True,
    ),
    "guard": Group(modules=("sources/guard.py",), tests=("tests/unit",)),
    "http": Group(
        modules=("_http.py",),
        tests=tuple(
            f"tests/adapters/test_{name}.py" for name in ("guard", "options", "request_table", "wsgi")
        ),
    ),
    "verifier": Group(
        modules=(
            *("verifier.py", "verification.py", "served.py", "snapshot.py", "token_cache.py"),
            *("refresher.py", "attention.py", "flight.py", "course.py", "driver.py", "pool.py"),
        ),
        tests=("tests/verifier", "tests/unit/test_attention.py", "tests/liveness/test_clocks.py"),
        at_once=6,
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Run the groups; 0 if all reach their figures and what has to be explained is."""
    parser = argparse.ArgumentParser(description="Run mutation tests.")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(GROUPS)}; all when left out")
    parser.add_argument("--folder", type=Path, help="where the copies are made and kept")
    options = parser.parse_args(arguments)
    if unknown := set(options.groups) - set(GROUPS):
        parser.error(f"no group is called {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    listed = PAGE.read_text(encoding="utf-8").splitlines()
    good = True
    rows: list[str] = []
    with tempfile.TemporaryDirectory() as passing:
        for name in options.groups or GROUPS:
            group, folder = GROUPS[name], (options.folder or Path(passing)) / name
            statuses = tried(group, folder)
            counts = Counter(statuses.values())
            survivors = [mutant for mutant, status in statuses.items() if status not in KILLED]
            score = 100 * (1 - len(survivors) / len(statuses))
            numbers = (len(statuses), counts["killed"], counts["timeout"], len(survivors), f"{score:.1f} %")
            rows.append(f"| `{'`, `'.join(group.modules)}` | {' | '.join(map(str, numbers))} |")
            unlisted = [line for line in described(folder, survivors) if line not in listed]
            say(f"\n{name}: {len(unlisted)} survivors that docs/mutation.md does not list\n")
            say("\n".join(unlisted))
            good &= score >= group.least and not (group.explained and unlisted)
    say("\n| files | mutants | killed | timed out | survived | score |\n|---|---|---|---|---|---|")
    say("\n".join(rows))
    return 0 if good else 1


def tried(group: Group, folder: Path) -> dict[str, str]:
    """Run mutmut over a copy of the tree; what became of each mutant, by its name."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED), dirs_exist_ok=True)
    configuration = {
        "source_paths": (PACKAGE,),
        "only_mutate": tuple(f"{PACKAGE}/{module}" for module in group.modules),
        "pytest_add_cli_args_test_selection": group.tests,
        "pytest_add_cli_args": ("-p", "no:cacheprovider", "-p", "no:xdist", "-k", f"not ({OUT_OF_REACH})"),
        "also_copy": tuple(
            path.name for path in ROOT.iterdir() if path.name[0] != "." and path.name != "mutants"
        ),
        "timeout_multiplier": ("5",),
        "timeout_constant": ("3",),
    }
    with (folder / "setup.cfg").open("a", encoding="utf-8") as file:
        file.write("\n[mutmut]\n")
        file.writelines(
            f"{name} =\n    " + "\n    ".join(values) + "\n" for name, values in configuration.items()
        )
    environ = {name: value for name, value in os.environ.items() if name != "CI"}
    command = mutmut("run", "--max-children", str(group.at_once))
    with EmbeddedPostgres() as server:  # one for all mutants
        subprocess.run(command, cwd=folder, env={**environ, GIVEN_DSN: server.dsn()}, check=True)
    lines = said(folder, "results", "--all", "true").splitlines()
    return dict(line.strip().rsplit(": ", 1) for line in lines if "__mutmut_" in line)


def described(folder: Path, mutants: Iterable[str]) -> list[str]:
    """Mutants in the form of the page: the function, what stands in it, and what stood there instead."""
    lines: list[str] = []
    for mutant in mutants:
        changed = {"-": "", "+": ""}
        for line in said(folder, "show", mutant).splitlines():
            if line[:1] in changed and line[:3] not in ("---", "+++"):
                changed[line[0]] += " " + line[1:].strip()
        function = re.sub(r"x_|xǁ|__mutmut_\d+$", "", mutant.removeprefix(f"{PACKAGE}.")).replace("ǁ", ".")
        lines.append(f"- `{function}`: `{changed['-'].strip()}` → `{changed['+'].strip() or 'nothing'}`")
    return sorted(lines)


def said(folder: Path, *command: str) -> str:
    """What a command of mutmut prints."""
    return subprocess.run(mutmut(*command), cwd=folder, capture_output=True, text=True, check=True).stdout


def mutmut(*command: str) -> list[str]:
    return [sys.executable, "-m", "mutmut", *command]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
