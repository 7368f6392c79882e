"""What happens in a world: weather by chance over all legal policies, and faults by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from court import ROUND
from world import STRANGERS_KEY, Token, Worker, World, playing

from skeldir_jwt_mw import RefreshPolicy
from skeldir_jwt_mw.core.row import RESTART_FROM, Record, microseconds
from skeldir_jwt_mw.core.seal import Sealer

RHYTHMS = ("busy", "busy", "semi-idle", "idle", "bursts", "one-shot")
FAULTS = (
    "provider hangs",
    "provider fails",
    "provider limits",
    "provider slow",
    "store slow",
    "store cut",
    "store down",
    "store dark",
    "store locked",
    "store demoted",
    "store down for one",
    "clock back",
    "clock forward",
    "stranger's row",
    "forged row",
    "replayed row",
    "far deadlines",
    "absurd numbers",
    "freeze",
    "restore",
    "crash",
    "exit",
    "fork",
    "no threads",
    "lost threads",
    "set_issuers",
)


def drawn_policy(draw: random.Random) -> RefreshPolicy:
    """Any legal policy, short enough for a run; each value on either side of those that it meets."""
    uniform, chance = draw.uniform, draw.random
    refresh = uniform(3.0, 18.0)
    fetch_timeout = uniform(0.5, 4.0)
    lease = 60.0 if chance() < 0.03 else fetch_timeout + uniform(0.05, 6.0)
    base = uniform(0.1, 3.0)
    return RefreshPolicy(
        refresh_interval=refresh,
        check_interval=refresh * uniform(0.1, 1.3) if chance() < 0.9 else uniform(0.2, 1.0),
        floor=min(refresh * 0.9, uniform(0.3, 10.0)),
        jitter=draw.choice((0.0, uniform(0.0, 3.0))),
        backoff_base=base,
        backoff_max=base * uniform(1.0, 6.0),
        max_stale=refresh * uniform(1.05, 12.0),
        fetch_timeout=fetch_timeout,
        lease=lease,
        wait_budget=draw.choice((0.0, uniform(0.02, 0.3), uniform(0.3, 3.0), uniform(1.0, 8.0))),
        strategy=draw.choice(("advisory", "lease")),
        on_store_outage=draw.choice(("serve", "serve", "fetch")),
        background=chance() < 0.85,
    )


class Life:
    """A world with callers and weather; `kinds` are the faults that may strike before `clears_at`."""

    def __init__(self, world: World, *, clears_at: float, kinds: tuple[str, ...]) -> None:
        self.world = world
        self.clears_at = clears_at
        self.kinds = kinds
        self.old_rows: list[Record] = []
        self.struck: list[str] = []

    # -- callers ---------------------------------------------------------------------------------------

    def some_token(self) -> Token:
        """Of the newest key, of an older one, or of one that was dropped."""
        world = self.world
        provider, draw = world.provider, world.random
        if draw.random() < 0.65:
            return world.token()
        gone = [number for number in provider.dropped_at if number > provider.newest - 4]
        if gone and draw.random() < 0.6:
            return world.token(draw.choice(gone))
        return world.token(draw.choice(provider.keys), iat=draw.random() < 0.9)

    def populate(self, worker: Worker, rhythm: str) -> None:
        """Have callers of this rhythm come to a worker for as long as it lives."""
        world, policy = self.world, self.world.policy
        draw = world.random.uniform
        busy = min(policy.check_interval / 2, 1.5)
        idle = policy.refresh_interval + policy.check_interval
        gaps: dict[str, Callable[[], float]] = {
            "busy": lambda: draw(0.3 * busy, busy),
            "semi-idle": lambda: draw(*sorted((policy.check_interval, policy.refresh_interval))),
            "idle": lambda: draw(idle, 2.5 * idle),
            "bursts": lambda: draw(0.5, 1.5) * policy.check_interval,
            "one-shot": lambda: draw(0.2, 1.0) * policy.check_interval,
        }

        def call() -> bool:
            if not worker.process.alive:
                return False
            for _ in range(6 if rhythm == "bursts" else 1):
                worker.ask(self.some_token())
            return True

        if rhythm == "one-shot":
            world.every(gaps[rhythm], self._one_shot)
        else:
            world.kernel.after(draw(0.0, 1.0), call)
            world.every(gaps[rhythm], call)

    def _one_shot(self) -> None:
        world = self.world
        worker = Worker(world)
        warm, times = world.random.random() < 0.5, world.random.randint(1, 2)

        def live() -> None:
            if warm:
                worker.warm()
            for _ in range(times):
                worker.request(self.some_token())
            self._leave(worker)
            worker.exit()

        worker.do(live)

    def _leave(self, worker: Worker) -> None:
        if worker in self.world.fleet:
            self.world.fleet.remove(worker)

    def attack(self, until: float) -> None:
        """Somebody sends tokens with made-up kids, five a second, to whichever worker."""
        world = self.world

        def send() -> bool:
            if world.fleet:
                kid = f"made-up-{world.random.randrange(10**6)}"
                world.random.choice(world.fleet).ask(world.token(kid=kid))
            return world.now < until

        world.every(lambda: world.random.uniform(0.1, 0.4), send)

    # -- weather ---------------------------------------------------------------------------------------

    def strike(self) -> bool:
        """Something goes wrong."""
        world = self.world
        if world.now >= self.clears_at:
            return False
        if world.row is not None and world.random.random() < 0.3:
            self.old_rows.append(world.row)
        if self.kinds:
            kind = world.random.choice(self.kinds)
            self.struck.append(kind)
            self.do(kind)
        return True

    def do(self, kind: str) -> None:
        """One fault, by its name."""
        world = self.world
        draw = world.random.uniform
        lasts = min(draw(0.1, 2.0) * max(world.policy.lease, 4.0), max(0.0, self.clears_at - world.now))
        subject, _, how = kind.partition(" ")
        worker = world.random.choice(world.fleet) if world.fleet else None
        match subject:
            case "provider":
                world.provider.retry_after = draw(0.0, 10.0)
                self._for(lasts, lambda mode: setattr(world.provider, "mode", mode), how)
            case "store":
                self._disturb_store(lasts, how, worker)
            case "clock":
                step = draw(0.5, 60.0) if world.random.random() < 0.7 else draw(60.0, 4000.0)
                self.set_clock(-step if how == "back" else step)
            case "stranger's" | "forged" | "replayed" | "far" | "absurd":
                world.change_row(lambda row: self._written(row, subject))
            case _ if worker is not None:
                self._happen_to(worker, kind, lasts)

    def _for(self, lasts: float, turn: Callable[[str], None], how: str) -> None:
        turn(how)
        self.world.kernel.after(lasts, lambda: turn("ok"))

    def _disturb_store(self, lasts: float, how: str, worker: Worker | None) -> None:
        database = self.world.database
        if how == "down for one":
            if worker is not None:
                database.modes[worker.process.pid] = "down"
                self.world.kernel.after(lasts, lambda: database.modes.pop(worker.process.pid, None))
            return
        self._for(lasts, lambda mode: setattr(database, "mode", mode), how)

    def set_clock(self, seconds: float) -> None:
        """Set the database's clock forward or back."""
        world = self.world
        world.database.step += seconds
        bounds = world.court.bounds
        # A worker that comes anew takes a row for younger by what the clock was set back, never by more than
        # the row's schedule: then it is from the future, and due.
        world.trouble("clock", min(-seconds, bounds.revocation) if seconds < 0 else world.policy.lease)

    def _written(self, row: Record, how: str) -> Record:
        world = self.world
        now = world.database.now_us
        match how:
            case "stranger's":
                generation = max(row.fence, now) + 1
                content = replace(row.content, generation=generation, fetched_us=now)
                seal = Sealer([STRANGERS_KEY]).seal(next(iter(world.database.rows)), content)
                return replace(row, content=content, seal=seal, fence=generation, lease_owner=None)
            case "forged":
                content = replace(row.content, fetched_us=now, generation=row.content.generation + 1)
                return replace(row, content=content)
            case "replayed":
                return world.random.choice(self.old_rows) if self.old_rows else row
            case "far":
                far = now + microseconds(world.random.choice((10.0, 30.0, 1e8)))
                until, set_at = world.random.choice(("lease", "floor", "backoff", "next")), now
                changes = {
                    "lease": {"lease_until": far, "claimed_at": set_at, "lease_owner": UUID(int=1)},
                    "floor": {"floor_until": far, "floor_set_at": set_at},
                    "backoff": {"backoff_until": far, "backoff_set_at": set_at},
                    "next": {"next_refresh_at": far},
                }[until]
                ahead = (far - now) / 1e6
                horizon = {"lease": 60.0, "floor": 60.0, "backoff": 3700.0}.get(until, 0.0)
                left = ahead if ahead <= horizon else 0.0  # what is beyond it does not count at all
                world.trouble("row", left)
                return replace(row, **changes)  # type: ignore[arg-type]
            case _:
                content = replace(row.content, generation=RESTART_FROM + world.random.randrange(1 << 61))
                return replace(row, content=content, fence=(1 << 62), next_refresh_at=float("inf"))

    def _happen_to(self, worker: Worker, kind: str, lasts: float) -> None:
        world = self.world
        match kind:
            case "freeze" | "restore":
                worker.freeze(lasts, restored=kind == "restore")
            case "crash":
                self._leave(worker)
                worker.crash()
                self.populate(Worker(world), "busy")
            case "exit":
                self._leave(worker)
                worker.do(worker.exit)
                self.populate(Worker(world), "busy")
            case "fork":
                if worker.process.frozen:
                    return
                child = worker.fork()
                self.populate(child, world.random.choice(RHYTHMS[:4]))
            case "no threads" | "lost threads":
                self._without_threads(worker, kind, lasts)
            case "set_issuers":
                leeway = world.random.choice((world.leeway, world.leeway + 1.0))
                if worker.verifier is not None:
                    worker.do(lambda: worker.verifier.set_issuers(world.issuer(leeway)))  # type: ignore[union-attr]

    def _without_threads(self, worker: Worker, kind: str, lasts: float) -> None:
        world, process = self.world, worker.process
        name = kind.replace(" ", "_")
        setattr(process, name, True)
        # A thread that was lost is waited for a while: STARTING and QUEUED seconds.
        world.trouble("threads", lasts + 13.0, process.pid)
        world.trouble("provider", lasts + 13.0, process.pid)
        world.kernel.after(lasts, lambda: setattr(process, name, False))


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run."""

    kind: str
    world: World
    life: Life | None = None


def by_chance(seed: int, *, kinds: tuple[str, ...] | None = None) -> Result:
    """A fleet under a policy, callers and weather that are all drawn; in the end it must be well."""
    draw = random.Random(seed)
    policy = drawn_policy(draw)
    leeway = draw.choice((0.0, 2.0, 30.0))
    skew = draw.choice((0.0, leeway / 2.5))
    world = World(seed, policy, leeway=leeway, skew=skew, token_cache=draw.choice((0, 64)))
    if kinds is None:
        kind = draw.choice(("calm", "one fault", "few faults", "storm"))
        kinds = {
            "calm": (),
            "one fault": (draw.choice(FAULTS),),
            "few faults": tuple(draw.sample(FAULTS, 4)),
            "storm": FAULTS,
        }[kind]
    else:
        kind = ", ".join(kinds)
    bounds = world.court.bounds
    # Until all that was dropped has been refused; in bad weather the last half of it is good.
    clears_at = draw.uniform(0.3, 0.9) * bounds.revocation_after_a_crash if kinds else 0.0
    ends_at = clears_at + bounds.revocation_after_a_crash + draw.uniform(0.5, 1.5) * policy.refresh_interval
    rests_at = ends_at + bounds.recovery + 2 * ROUND
    life = Life(world, clears_at=clears_at, kinds=kinds)
    with playing(world):
        for _ in range(draw.choice((2, 3, 3, 4, 4, 5, 6, 12))):
            life.populate(Worker(world), draw.choice(RHYTHMS))
        if draw.random() < 0.35:
            life.attack(ends_at if draw.random() < 0.5 else clears_at)
        if kinds:
            world.every(lambda: draw.uniform(0.3, 1.0) * max(1.0, clears_at / 8), life.strike)
        turns = draw.uniform(0.25, 0.9) * (bounds.floor + policy.refresh_interval)
        # In the end keys rest: one that the next replaces within a floor is promised to nobody.
        world.every(
            lambda: turns * draw.uniform(0.7, 1.5), lambda: world.now < rests_at and _change_keys(world, draw)
        )
        world.run(ends_at)
        _clear(world)
        world.run(rests_at)
        _all_verify(world)
    return Result(kind, world, life)


def _change_keys(world: World, draw: random.Random) -> bool:
    provider = world.provider
    if provider.newest > 35:
        return False
    if draw.random() < 0.75:
        provider.rotate(keep=draw.choice((1, 2, 2, 3)))
    elif len(provider.keys) > 1:
        provider.drop(provider.keys[0])
    return True


def _clear(world: World) -> None:
    """All trouble is over."""
    world.provider.mode = world.database.mode = "ok"
    world.database.modes.clear()


def _all_verify(world: World) -> None:
    """Every worker is asked for the newest key, again and again within the bound: each must accept it."""
    world.provider.rotate()
    accepted: dict[int, bool] = {}
    asked = [worker for worker in world.fleet if worker.process.alive]
    until = (
        world.now
        + max(0.0, world.troubled_until(("clock", "row", "provider", "leader"), 0) - world.now)
        + max(0.0, world.court._backed_off_until() - world.now)
    )
    until = max([until, *(worker.disturbed_until for worker in asked)])
    until += 2 * world.court.bounds.recovery

    def keep_asking(worker: Worker) -> None:
        def request() -> None:
            if worker.request(world.token()):
                accepted[worker.process.pid] = True

        def ask() -> bool:
            if accepted.get(worker.process.pid) or not worker.process.alive or world.now > until:
                return False
            worker.do(request)
            return True

        world.every(lambda: world.random.uniform(0.2, 0.9), ask)

    for worker in asked:
        keep_asking(worker)
    step = until
    while world.now < until and len(accepted) < len(asked):
        step = min(until, world.now + 2.0)
        world.run(step)
    missing = [worker.process.pid for worker in asked if not accepted.get(worker.process.pid)]
    if any(worker.process.alive for worker in asked if worker.process.pid in missing):
        world.court.violation(f"the processes {missing} never verify the newest key again")
        world.run(world.now)
