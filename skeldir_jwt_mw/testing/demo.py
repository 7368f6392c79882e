"""`skeldir-jwt demo`: a real fleet, Postgres and identity provider, through what happens in production."""

from __future__ import annotations

import contextlib
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Table

from skeldir_jwt_mw.environment import ALLOW_MUTATIONS, DISABLE_SINGLEFLIGHT
from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.migrate import migrate

from .fleet import Fleet, Outcome, WorkerSetup
from .issuer_process import IssuerProcess
from .postgres import EmbeddedPostgres, PostgresMissing

FLOOR = 1.0
LEASE = 2.0
POLICY = {
    "floor": FLOOR,
    "jitter": 0.1,
    "backoff_base": 0.5,
    "backoff_max": 2.0,
    "fetch_timeout": 1.5,
    "lease": LEASE,
    "wait_budget": 6.0,
}
FETCH = 0.2  # seconds that the provider takes for its answer
FLOOD = 3.0  # seconds
MADE_UP = 400  # tokens with made-up kids that the flood picks from


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What one act showed; `refused` counts answers that are neither a verified token nor asked for."""

    title: str
    workers: int
    outcomes: Sequence[Outcome]
    fetches: int
    statements: int
    expected: str
    held: bool

    @property
    def verified(self) -> int:
        """Tokens that were accepted."""
        return sum(outcome.verified for outcome in self.outcomes)

    def latency(self, share: float) -> float:
        """Milliseconds within which that share of the answers came."""
        ordered = sorted(outcome.seconds for outcome in self.outcomes)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Stage:
    """The fleet, the provider and what the acts count."""

    def __init__(self, fleet: Fleet, provider: IssuerProcess) -> None:
        self.fleet = fleet
        self.provider = provider
        self._fetches = 0
        self._statements = 0

    def begin(self) -> None:
        """Count from here on."""
        self._fetches = self.provider.fetches
        self._statements = self.fleet.statements(self.living())

    def living(self) -> list[int]:
        """The workers that were not killed."""
        return [number for number in range(self.fleet.size) if self.fleet.is_alive(number)]

    def act(self, title: str, outcomes: Sequence[Outcome], expected: str, held: Callable[[Act], bool]) -> Act:
        """What has happened since `begin`."""
        living = self.living()
        act = Act(
            title=title,
            workers=len(living),
            outcomes=outcomes,
            fetches=self.provider.fetches - self._fetches,
            statements=self.fleet.statements(living) - self._statements,
            expected=expected,
            held=False,
        )
        return replace(act, held=held(act))


def cold_start(stage: Stage) -> Act:
    """Nobody has keys, everybody gets a token."""
    token = stage.provider.token()
    stage.begin()
    outcomes = stage.fleet.verify(token)
    return stage.act("Cold start", outcomes, "1 fetch, all verified", _one_fetch)


def rotation(stage: Stage) -> Act:
    """The provider rotates; every worker sees the unknown kid in the same instant."""
    stage.provider.rotate()
    token = stage.provider.token()
    stage.begin()
    outcomes = stage.fleet.verify(token)
    return stage.act("Rotation, all workers at once", outcomes, "1 fetch, all verified", _one_fetch)


def flood(stage: Stage) -> Act:
    """Made-up kids without end, and a good token now and then."""
    good = stage.provider.token()
    made_up = [stage.provider.stranger_token() for _ in range(MADE_UP)]
    stage.begin()
    answers = stage.fleet.ask("flood", good, made_up, FLOOD)
    good_outcomes = [outcome for answer, _ in answers for outcome in answer]
    refused = sum(not outcome.verified for _, answer in answers for outcome in answer)
    most = int(FLOOD / FLOOR) + 1
    return stage.act(
        f"Flood of {refused:,} made-up kids",
        good_outcomes,
        f"<= {most} fetches, good tokens all verified",
        lambda act: act.fetches <= most and act.verified == len(good_outcomes) and refused > 0,
    )


def leader_killed(stage: Stage) -> Act:
    """The worker that fetches is killed in the middle of it."""
    stage.provider.slow(1.0)
    stage.provider.rotate()
    token = stage.provider.token()
    stage.begin()
    leader, *others = stage.living()
    stage.fleet.start_verify(token, workers=[leader])
    time.sleep(0.4)  # it has claimed and waits for the provider's answer
    stage.fleet.start_verify(token, workers=others)
    time.sleep(0.2)
    stage.fleet.signal(leader, signal.SIGKILL)
    stage.provider.slow(FETCH)
    outcomes = stage.fleet.collect(workers=others)
    return stage.act(
        "Leader killed in mid-fetch",
        outcomes,
        "2 fetches (1 lost), all verified",
        lambda act: act.fetches == 2 and act.verified == len(others),
    )


def provider_down(stage: Stage) -> Act:
    """The provider answers 503: known keys go on serving, and the fleet backs off together."""
    known = stage.provider.token()
    stage.provider.rotate()
    unknown = stage.provider.token()
    stage.provider.down()
    stage.begin()
    served = stage.fleet.verify(known, workers=stage.living())
    during = stage.fleet.verify(unknown, workers=stage.living())
    served += stage.fleet.verify(known, workers=stage.living())
    stage.provider.up()
    time.sleep(POLICY["backoff_base"] + POLICY["jitter"] + FLOOR)
    after = stage.fleet.verify(unknown, workers=stage.living())
    honest = all(outcome.error is None or outcome.error.startswith("keys_unavailable") for outcome in during)
    return stage.act(
        "Provider down, then back",
        [*served, *after],
        "<= 3 fetches, no known key refused",
        lambda act: honest and act.fetches <= 3 and act.verified == len(act.outcomes),
    )


def without_coordination(stage: Stage) -> Act:
    """The same rotation with the claim switched off."""
    stage.fleet.verify(stage.provider.token())
    time.sleep(FLOOR * 1.3)
    stage.provider.rotate()
    token = stage.provider.token()
    stage.begin()
    outcomes = stage.fleet.verify(token)
    return stage.act(
        "Rotation, coordination off",
        outcomes,
        "as many fetches as workers",
        lambda act: act.fetches == stage.fleet.size,
    )


def _one_fetch(act: Act) -> bool:
    return act.fetches == 1 and act.verified == act.workers


ACTS = (cold_start, rotation, flood, leader_killed, provider_down)


def run_demo(*, workers: int, dsn: str | None, console: Console | None = None) -> bool:
    """Play every act and print a table for each; whether all of them held."""
    console = console or Console(width=80, highlight=False)
    started = time.monotonic()
    acts: list[Act] = []
    with contextlib.ExitStack() as stack:
        with console.status("starting Postgres and an identity provider"):
            dsn = dsn or stack.enter_context(_database())
            migrate(dsn)
            provider = stack.enter_context(IssuerProcess())
            provider.slow(FETCH)
        setup = WorkerSetup(
            issuer=provider.issuer,
            audience="orders-api",
            jwks_url=provider.jwks_url,
            dsn=dsn,
            seal_keys=(secrets.token_bytes(32),),
            namespace=secrets.token_hex(4),  # a run never meets the row of an earlier one
            policy=POLICY,
        )
        console.print(
            f"{workers} worker processes, one Postgres, one identity provider ({FETCH * 1000:.0f} ms)"
        )
        with console.status(f"spawning {workers} workers"), Fleet(workers, setup) as fleet:
            stage = Stage(fleet, provider)
            for play in ACTS:
                acts.append(_play(console, play, stage))
                time.sleep(FLOOR * 1.3)  # so that each act starts with an open floor
        setup = replace(
            setup,
            namespace=secrets.token_hex(4),
            environ={DISABLE_SINGLEFLIGHT: "1", ALLOW_MUTATIONS: "1"},
        )
        with (
            console.status(f"spawning {workers} workers without coordination"),
            Fleet(workers, setup) as fleet,
        ):
            acts.append(_play(console, without_coordination, Stage(fleet, provider)))
    held = all(act.held for act in acts)
    saved = acts[-1].fetches / max(1, acts[1].fetches)
    console.print(
        f"{'All acts held' if held else 'NOT every act held'} in {time.monotonic() - started:.0f} s. "
        f"The same rotation cost {acts[1].fetches} fetch with coordination and {acts[-1].fetches} without"
        f" ({saved:.0f} to 1).",
        style="bold green" if held else "bold red",
    )
    return held


@contextlib.contextmanager
def _database() -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        try:
            postgres = stack.enter_context(EmbeddedPostgres())
        except PostgresMissing as missing:
            raise ConfigurationError(f"{missing}; or give --dsn") from None
        yield postgres.create_database("demo")


def _play(console: Console, play: Callable[[Stage], Act], stage: Stage) -> Act:
    act = play(stage)
    mark = "[green]held[/green]" if act.held else "[red]NOT HELD[/red]"
    table = Table(title=f"{act.title}: {mark}", title_justify="left", expand=True)
    for heading in ("workers", "verified", "fetches", "statements", "p50 ms", "p95 ms", "max ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(
        str(act.workers),
        f"{act.verified}/{len(act.outcomes)}",
        str(act.fetches),
        str(act.statements),
        *(f"{act.latency(share):.1f}" for share in (0.5, 0.95, 1.0)),
    )
    console.print(table)
    console.print(f"expected: {act.expected}\n", style="dim")
    return act
