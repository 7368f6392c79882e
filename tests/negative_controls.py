"""Each proof can fail: with its mechanism taken out, it does. `python tests/negative_controls.py [WORD …]`

First all proofs run as they are and must pass; then each runs under its mutation and must fail, by an
assertion of its own. A proof that stays green, or breaks for another reason, fails the run. Words choose the
mutations in whose names they occur.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/fleet")]

from mutations import MUTATIONS, VARIABLE, Mutation  # noqa: E402

from skeldir_jwt_mw.testing.postgres import EmbeddedPostgres  # noqa: E402

DSN = "SKELDIR_JWT_TEST_DSN"
AT_ONCE = 3
LONGEST = 170.0  # seconds for one run of pytest
OWN_FAILURES = ("assert ", "AssertionError", "Failed: DID NOT RAISE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a proof did under its mutation."""

    verdict: str  # "red" is the only good one
    seconds: float
    detail: str = ""


def main(words: Sequence[str]) -> int:
    """Run the controls; 0 if every proof went red."""
    chosen = {
        name: mutation
        for name, mutation in MUTATIONS.items()
        if not words or any(map(name.__contains__, words))
    }
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        environ = {**os.environ, "PYTHONPATH": str(ROOT / "tests/fleet")}
        environ.pop("CI", None)  # which would turn a skip into a failure, and that is not what is looked for
        if DSN not in environ:
            environ[DSN] = stack.enter_context(EmbeddedPostgres(max_connections=500)).dsn()
        if not unmutated(sorted({mutation.proof for mutation in chosen.values()}), environ):
            say("a proof fails without any mutation; nothing was shown")
            return 1
        say(f"\n{'mutation':<46} {'proof':<7} {'s':>5}  test")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            findings = pool.map(lambda item: control(*item, environ), chosen.items())
            good = [report(*item, finding) for item, finding in zip(chosen.items(), findings, strict=True)]
    say(f"\n{sum(good)} of {len(good)} proofs failed as they should, in {time.monotonic() - started:.0f} s")
    return 0 if all(good) and good else 1


def unmutated(proofs: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether all proofs pass as they are."""
    say(f"{len(proofs)} proofs, unmutated")
    # Those of one module go to one worker, so that it can use its processes again.
    spread = ["-n", str(AT_ONCE), "--dist", "loadfile"]
    done = subprocess.run(pytest_command(*spread, *proofs), cwd=ROOT, env=dict(environ), check=False)
    return done.returncode == 0


def control(name: str, mutation: Mutation, environ: Mapping[str, str]) -> Finding:
    """Run one proof under its mutation."""
    mine = {**environ, **dict(mutation.environ), **({VARIABLE: name} if mutation.patches else {})}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = pytest_command("-p", "no:xdist", "-p", "mutations", f"--junitxml={results}", mutation.proof)
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=mine, capture_output=True, text=True, timeout=LONGEST, check=False
            )
        except subprocess.TimeoutExpired:
            return Finding(verdict="STUCK", seconds=LONGEST)
        return judged(results, done.returncode, done.stdout + done.stderr, time.monotonic() - started)


def judged(results: Path, returncode: int, said: str, seconds: float) -> Finding:
    """What the results of a run of pytest say of the proof."""
    if not results.exists():
        return Finding(verdict="BROKEN", seconds=seconds, detail=said)
    tree = ElementTree.parse(results)
    failures = [failure.get("message", "") for failure in tree.iter("failure")]
    errors = [error.get("message", "") for error in tree.iter("error")]
    if returncode == 0 and not failures and not errors:
        return Finding(
            verdict="GREEN" if next(tree.iter("skipped"), None) is None else "SKIPPED", seconds=seconds
        )
    if returncode != 1 or errors or not all(message.startswith(OWN_FAILURES) for message in failures):
        return Finding(verdict="BROKEN", seconds=seconds, detail=said)
    return Finding(verdict="red", seconds=seconds)


def report(name: str, mutation: Mutation, finding: Finding) -> bool:
    """One line of the table; whether the control did what it should."""
    test = mutation.proof.partition("::")[2]
    say(f"{name:<46} {finding.verdict:<7} {finding.seconds:>5.1f}  {test}")
    if finding.detail:
        say(finding.detail)
    return finding.verdict == "red"


def pytest_command(*arguments: str) -> list[str]:
    """A run of pytest that leaves nothing behind."""
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]


def say(line: str) -> None:
    """Print at once, since CI shows this while it runs."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
