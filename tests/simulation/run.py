"""Runs many seeds of the simulation and prints what came of it: `tests/simulation/run.py --seeds 10000`.

Prints two tables (by kind of weather: runs, verdicts, violations; by bound: what was promised and the worst
that was measured, in virtual seconds) and every violation with its seed. The exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from named import NAMED
from scenarios import Result, by_chance
from virtual import Violation

BATCH = 20


@dataclass(slots=True)
class Score:
    """What came of many runs, by kind."""

    runs: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, int]] = field(default_factory=Counter)
    virtual: float = 0.0  # seconds
    worst: dict[str, tuple[float, float]] = field(default_factory=dict)  # share of the bound, and seconds
    violations: list[str] = field(default_factory=list)

    def add(self, other: Score) -> None:
        """Take another score in."""
        self.runs += other.runs
        self.verdicts += other.verdicts
        self.virtual += other.virtual
        self.violations += other.violations
        for what, worst in other.worst.items():
            self.worst[what] = max(worst, self.worst.get(what, (0.0, 0.0)))

    def take(self, result: Result) -> None:
        """Take the result of a run in."""
        court = result.world.court
        self.runs[result.kind] += 1
        self.virtual += result.world.now
        for (status, _), times in court.verdicts.items():
            self.verdicts[result.kind, status] += times
        for what, seconds in court.worst.items():
            bound = promised(what, result)
            share = seconds / bound if bound > 0 else 0.0
            self.worst[what] = max((share, seconds), self.worst.get(what, (0.0, 0.0)))


def promised(what: str, result: Result) -> float:
    """The bound that a measure is about, under the policy of the run."""
    bounds, policy = result.world.court.bounds, result.world.policy
    return {
        "a request waits": policy.wait_budget,
        "a dropped key is accepted": bounds.revocation_after_a_crash
        if policy.wait_budget < 1.0
        else bounds.revocation,
        "a new key is refused with 503": bounds.new_key,
    }[what]


def batch(first: int, last: int) -> Score:
    """The score of these seeds."""
    logging.getLogger("skeldir_jwt_mw").disabled = True
    score = Score()
    for seed in range(first, last):
        try:
            score.take(by_chance(seed))
        except Violation as violation:
            score.runs["violated"] += 1
            score.violations.append(str(violation))
    return score


def named_batch(name: str, seeds: int) -> Score:
    """The score of one fault that has a name."""
    logging.getLogger("skeldir_jwt_mw").disabled = True
    score = Score()
    for seed in range(seeds):
        try:
            result = NAMED[name](seed)
        except Violation as violation:
            score.violations.append(f"{name}, {violation}")
        else:
            score.take(Result("by name", result.world))
    return score


def scores(first: int, seeds: int, named: int, processes: int) -> Iterator[Score]:
    """The scores of all batches, as they come."""
    chunks = [(at, min(at + BATCH, first + seeds)) for at in range(first, first + seeds, BATCH)]
    if processes == 1:
        yield from (batch(*chunk) for chunk in chunks)
        yield from (named_batch(name, named) for name in NAMED)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(batch, *zip(*chunks, strict=True))
        yield from pool.map(named_batch, NAMED, [named] * len(NAMED))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Fleets under virtual time; every verdict is judged.")
    parser.add_argument("--seeds", type=int, default=1000, help="runs by chance (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--named", type=int, default=20, help="runs of each named fault (default: 20)")
    parser.add_argument("--processes", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no batch after so long")
    given = parser.parse_args(arguments)
    total, began = Score(), time.monotonic()
    for score in scores(given.first, given.seeds, given.named, given.processes):
        total.add(score)
        for violation in score.violations:
            tell(violation)
        if time.monotonic() - began > given.seconds:
            break
    report(total)
    return 1 if total.violations else 0


def report(total: Score) -> None:
    """Print the tables."""
    kinds: dict[str, dict[int, int]] = defaultdict(dict)
    for (kind, status), times in total.verdicts.items():
        kinds[kind][status] = times
    tell("\n| weather | runs | 200 | 401 | 503 |\n|---|---|---|---|---|")
    for kind, runs in sorted(total.runs.items()):
        counts = kinds[kind]
        tell(f"| {kind} | {runs} | " + " | ".join(str(counts.get(s, 0)) for s in (200, 401, 503)) + " |")
    tell("\n| bound, in good weather | worst, s | of what is promised |\n|---|---|---|")
    for what, (share, seconds) in sorted(total.worst.items()):
        tell(f"| {what} | {seconds:.2f} | {share:.0%} |")
    verdicts = sum(total.verdicts.values())
    tell(
        f"\n{sum(total.runs.values())} runs, {verdicts} verdicts, {total.virtual / 3600:.1f} virtual hours, "
        f"{len(total.violations)} violations"
    )


def tell(text: str) -> None:
    """Print a line."""
    sys.stdout.write(text + os.linesep)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
