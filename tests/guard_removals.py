"""Each advisory's test misses its guard: with that taken out, it fails.

`python tests/guard_removals.py [WORD …]`; words choose the guards in whose names they occur. Every guard is
taken out in a process of its own, forked from one that has loaded everything and made the keys.
Which failures count is told in `negative_controls.py`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / f"tests{folder}") for folder in ("", "/advisories", "/fleet", "/hostile")]

from mutations import Mutation, apply  # noqa: E402
from negative_controls import Finding, judged, report, say  # noqa: E402
from removals import GUARDS  # noqa: E402

AT_ONCE = 3 * (os.cpu_count() or 1)  # some wait for their servers while others compute
PLAIN = Mutation(proof="")
OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist")


def main(words: Sequence[str]) -> int:
    """Run the tests without their guards; 0 if every one went red."""
    names = [name for name in GUARDS if not words or any(map(name.__contains__, words))]
    chosen = {name: GUARDS[name] for name in names}
    started = time.monotonic()
    load()
    os.environ.pop("CI", None)
    proofs = sorted({guard.proof for guard in chosen.values()})
    with tempfile.TemporaryDirectory() as folder:
        whole = Run(Path(folder), "unmutated", PLAIN, proofs)
        if whole.ended().verdict != "GREEN":
            say("a test fails though its guard is in place; nothing was shown")
            say(whole.ended().detail)
            return 1
        say(f"{len(proofs)} tests pass as they are\n\n{'guard':<58} {'test':<7} {'s':>5}")
        good: list[bool] = []
        running: list[tuple[str, Mutation, Run]] = []
        for name, guard in chosen.items():
            if len(running) == AT_ONCE:
                good.append(reported(*running.pop(0)))
            running.append(
                (name, guard, Run(Path(folder), str(len(good) + len(running)), guard, [guard.proof]))
            )
        good += [reported(*one) for one in running]
    seconds = time.monotonic() - started
    say(f"\n{sum(good)} of {len(good)} guards are missed by their tests, in {seconds:.0f} s")
    return 0 if all(good) and good else 1


def load() -> None:
    """Import what every test needs, and make the keys that they share."""
    import corpus

    os.chdir(ROOT)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        # A module that imports nothing of the package by name: what is patched later would not get there.
        pytest.main([*OPTIONS, "--collect-only", "tests/hostile/test_hostile_tokens.py"])
    for family in corpus.FAMILIES.values():
        family.cases()


class Run:
    """One run of pytest in a forked process, without a guard."""

    def __init__(self, folder: Path, name: str, guard: Mutation, proofs: Sequence[str]) -> None:
        self._results, self._said = folder / f"{name}.xml", folder / f"{name}.txt"
        self._started = time.monotonic()
        self._finding: Finding | None = None
        self._process = os.fork()
        if self._process == 0:
            os._exit(self._run(guard, proofs))

    def _run(self, guard: Mutation, proofs: Sequence[str]) -> int:
        with self._said.open("w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            try:
                apply(guard)
                return int(pytest.main([*OPTIONS, f"--junitxml={self._results}", *proofs]))
            except BaseException as error:  # nothing of the parent may run on in here
                file.write(repr(error))
                return 70

    def ended(self) -> Finding:
        """Wait for the end, and judge it."""
        if self._finding is None:
            _, status = os.waitpid(self._process, 0)
            seconds = time.monotonic() - self._started
            said = self._said.read_text(encoding="utf-8") if self._said.exists() else ""
            self._finding = judged(self._results, os.waitstatus_to_exitcode(status), said, seconds)
        return self._finding


def reported(name: str, guard: Mutation, run: Run) -> bool:
    """Wait for a run and print its line; whether the test went red."""
    return report(name, guard, run.ended())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
