"""Coverage-guided fuzzing of `targets.py` with atheris: `python fuzz/run.py --seconds 3600 claims`.

Without names, all targets get the seconds each. What crashes one is kept in `fuzz/crashes` as `TARGET-…`;
the tests try each file in there, so a reproducer that is committed is a regression test. `--corpus` names a
folder in which inputs that reached new code are kept from run to run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
MAX_BYTES = 20_000


def fuzz(name: str, seconds: int, corpus: Path) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["skeldir_jwt_mw"]):
        from targets import SEEDS, TARGETS

    seeds = corpus / name
    seeds.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (seeds / f"seed-{number}").write_bytes(seed)
    crashes = HERE / "crashes"
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-max_len={MAX_BYTES}",
        f"-artifact_prefix={crashes}/{name}-",
        "-timeout=5",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        "-verbosity=0",
        str(seeds),
    ]
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    """Fuzz the targets that are named, each in a process of its own; 1 if one of them crashed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=3, help="for each target")
    parser.add_argument("--corpus", type=Path, default=None)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        fuzz(options.targets[0], options.seconds, options.corpus)
        return 0
    from targets import TARGETS

    if unknown := set(options.targets) - TARGETS.keys():
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        corpus = options.corpus or Path(scratch)
        for name in options.targets or TARGETS:
            command = [sys.executable, __file__, "--here", name, f"--seconds={options.seconds}"]
            done = subprocess.run(
                [*command, f"--corpus={corpus}"], capture_output=True, text=True, check=False
            )
            runs = [
                line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line
            ]
            print(f"{name}: {runs[0] if runs else 'no'} inputs, exit code {done.returncode}", flush=True)
            if done.returncode != 0 or not runs:
                failed.append(name)
                print(done.stdout[-4000:], done.stderr[-8000:], sep="\n", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
