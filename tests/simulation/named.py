"""Faults by their names: for each a world in which it happens, and what must come of it.

In most of them nothing is excused: the court judges as in good weather.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from court import ROUND
from scenarios import Life, Result
from virtual import Violation
from world import FORGERS, STRANGERS_KEY, Worker, World, document_of, playing

from skeldir_jwt_mw import RefreshPolicy
from skeldir_jwt_mw.core.row import microseconds
from skeldir_jwt_mw.core.seal import Sealer

POLICY = RefreshPolicy(
    refresh_interval=9.0,
    check_interval=3.0,
    floor=4.0,
    jitter=0.5,
    backoff_base=0.5,
    backoff_max=4.0,
    lease=2.5,
    fetch_timeout=1.5,
    wait_budget=1.0,
    max_stale=60.0,
)
Scenario = Callable[[int], Result]
NAMED: dict[str, Scenario] = {}


def named(scenario: Scenario) -> Scenario:
    """Enter a scenario under its own name."""
    NAMED[scenario.__name__.replace("_", " ")] = scenario
    return scenario


def must(what: bool, text: str) -> None:
    """Raise a violation where something is not so."""
    if not what:
        raise Violation(text)


def life_in(world: World) -> Life:
    """A life without weather."""
    return Life(world, clears_at=0.0, kinds=())


def peopled(world: World, *rhythms: str) -> list[Worker]:
    """Workers with callers of these rhythms."""
    life, fleet = life_in(world), []
    for rhythm in rhythms:
        fleet.append(Worker(world))
        life.populate(fleet[-1], rhythm)
    return fleet


def strict(seed: int, policy: RefreshPolicy = POLICY, **options: float) -> World:
    """A world in which nothing is excused."""
    world = World(seed, policy, **options)  # type: ignore[arg-type]
    world.excusable = False
    return world


@named
def a_calm_fleet_fetches_once_for_each_rotation(seed: int) -> Result:
    """A cold start and two rotations, each longer than a floor after the one before: three fetches."""
    world = strict(seed, RefreshPolicy())
    with playing(world):
        for _ in range(40):
            worker = Worker(world)
            world.every(
                lambda: world.random.uniform(0.2, 1.0), lambda worker=worker: worker.ask(world.token())
            )
        for end in (4.0, 12.0, 20.0):
            world.run(end)
            world.provider.rotate()
        world.run(20.0)
    row = world.row
    must(row is not None and world.provider.answers == 3, f"{world.provider.answers} fetches")
    must(row is not None and row.refresh_event_count == 3, "not three refreshes")
    must(len(world.court.forced) == 2, "not two forced claims")
    return Result("calm", world)


@named
def followers_have_the_key_a_poll_after_it_was_published(seed: int) -> Result:
    """A slow fetch, requests of little patience, and the longest lease."""
    budget = (0.0, 0.2, 1.0)[seed % 3]
    world = strict(seed, replace(POLICY, lease=60.0, wait_budget=budget))
    with playing(world):
        peopled(world, *["busy"] * 8)
        world.run(6.0)
        world.provider.latency = (1.2, 1.3)
        world.provider.rotate()
        asked = world.now
        for worker in world.fleet:
            worker.ask(world.token())
        world.run(asked + 4.0)
        ignorant = [worker for worker in world.fleet if world.provider.newest not in worker.knows()]
        must(not ignorant, f"{len(ignorant)} workers wait for a key that was published seconds ago")
        world.run(30.0)
    return Result("patience", world)


@named
def made_up_kids_cost_nobody_a_401(seed: int) -> Result:
    """Tokens with made-up kids, several a second, and rotations in the midst of them."""
    world = strict(seed, leeway=float(seed % 2), skew=0.4 * (seed % 2))
    with playing(world):
        peopled(world, *["busy"] * 5)
        life_in(world).attack(100.0)
        for end in (8.0, 17.0, 31.0, 44.5):
            world.run(end)
            world.provider.rotate()
        world.run(60.0)
    most = 2 + 60.0 / POLICY.floor + 60.0 / POLICY.refresh_interval
    must(world.provider.answers <= most, f"{world.provider.answers} fetches under attack")
    return Result("attack", world)


@named
def a_worker_that_cannot_read_the_row_refuses_revoked_keys(seed: int) -> Result:
    """One of the fleet has another seal key."""
    world = strict(seed)
    with playing(world):
        peopled(world, *["busy"] * 3)
        alone = Worker(world, seal_keys=(STRANGERS_KEY,))
        life_in(world).populate(alone, "busy")
        said_so: list[bool] = []
        world.run(2.0)
        world.every(lambda: 0.3, lambda: said_so.append(alone.refresher._unreadable))
        for end in (7.0, 30.0, 55.0):
            world.run(end)
            world.provider.rotate(keep=1)
        world.run(80.0)
        must(any(said_so), "a worker that cannot read the row says that it is ready")
    return Result("unreadable", world)


@named
def forged_keys_are_never_used(seed: int) -> Result:
    """Somebody with write access to the table puts keys of his own into the row."""
    world = World(seed, POLICY)
    with playing(world):
        peopled(world, *["busy"] * 3)
        for end in (5.0, 11.0, 18.0):
            world.run(end)

            def forge(row: object) -> object:
                now = world.database.now_us
                content = replace(
                    row.content,  # type: ignore[attr-defined]
                    payload=document_of((FORGERS,)),
                    generation=now,
                    fetched_us=now,
                    expires_us=now + microseconds(50.0),
                )
                sealed = Sealer([b"f" * 32]).seal("", content)
                return replace(row, content=content, seal=sealed if seed % 2 else row.seal)  # type: ignore[return-value]

            world.change_row(forge)  # type: ignore[arg-type]
            for worker in world.fleet:
                worker.ask(world.token(FORGERS))
            world.run(end + 1.0)
            for worker in world.fleet:
                worker.ask(world.token(FORGERS))
        world.run(40.0)
    return Result("forged", world)


@named
def a_clock_that_was_set_back_stalls_nobody(seed: int) -> Result:
    """The database's clock goes back just after a forced fetch, and after a failure."""
    world = strict(seed, replace(POLICY, wait_budget=0.5))
    with playing(world):
        peopled(world, *["busy"] * 4)
        life = life_in(world)
        world.run(6.0)
        world.provider.rotate()
        world.run(7.0)
        life.set_clock(-(50.0 if seed % 2 else 3600.0))
        world.provider.rotate()
        world.run(7.0 + world.court.bounds.new_key)
        late = [worker for worker in world.fleet if world.provider.newest not in worker.knows()]
        must(not late, f"{len(late)} workers wait for the database's clock")
        world.provider.mode = "fails"
        world.provider.rotate()
        world.run(world.now + 2.0)
        life.set_clock(-3600.0)
        world.provider.mode = "ok"
        # What was told before the clock was set is believed until the next look.
        world.run(world.now + POLICY.backoff_max + POLICY.check_interval + world.court.bounds.new_key)
        late = [worker for worker in world.fleet if world.provider.newest not in worker.knows()]
        must(not late, f"{len(late)} workers wait for the database's clock after a failure")
    return Result("clock", world)


@named
def new_rules_keep_the_keys(seed: int) -> Result:
    """`set_issuers` with another leeway while the database is away."""
    world = strict(seed)
    with playing(world):
        fleet = peopled(world, *["busy"] * 3)
        world.run(5.0)
        world.database.mode = "down"
        for worker in fleet:
            worker.do(lambda worker=worker: worker.verifier.set_issuers(world.issuer(5.0)))  # type: ignore[return-value]
        world.run(30.0)
    return Result("set_issuers", world)


@named
def whoever_leaves_gives_the_lease_back(seed: int) -> Result:
    """A process ends in mid-fetch, under the longest lease."""
    world = strict(seed, replace(POLICY, lease=60.0, fetch_timeout=4.0, wait_budget=0.2))
    with playing(world):
        leaver, *stay = peopled(world, *["busy"] * 4)
        world.run(6.0)
        world.provider.rotate()
        world.provider.latency = (3.0, 3.5)
        leaver.ask(world.token())
        world.run(6.5)
        world.provider.latency = (0.01, 0.1)
        world.fleet.remove(leaver)
        leaver.do(leaver.exit)
        world.run(10.0)
        late = [worker for worker in stay if world.provider.newest not in worker.knows()]
        must(not late, f"{len(late)} workers wait for the lease of a process that has left")
        world.run(30.0)
    return Result("leaver", world)


@named
def a_process_without_threads_costs_the_fleet_nothing(seed: int) -> Result:
    """One worker's system gives it no threads for its fetches; the others fetch, and no one backs off."""
    world = strict(seed)
    with playing(world):
        poor, *rest = peopled(world, *["busy"] * 4)
        world.run(5.0)
        poor.process.no_calls = True
        poor.disturbed_until = 1e9  # it may be refused by; the others may not
        for end in (6.0, 14.0):
            world.run(end)
            world.provider.rotate()
            poor.ask(world.token())  # takes the lease first
            world.run(end + 0.4)
            for worker in rest:
                worker.ask(world.token())
            world.run(end + world.court.bounds.floor + ROUND)
            late = [worker for worker in rest if world.provider.newest not in worker.knows()]
            must(not late, f"{len(late)} workers wait for one that has no threads")
        poor.process.no_calls = False
        poor.disturbed_until = world.now
        world.run(30.0)
        must(world.provider.newest in poor.knows(), "it did not recover")
    must(world.row is not None and world.row.failure_event_count == 0, "the fleet backs off")
    return Result("no threads", world)


@named
def a_thread_that_dies_in_its_flight_is_not_waited_for(seed: int) -> Result:
    """The fetch of a process is in the air when C forks it: the child has the flight and no thread."""
    world = World(seed, POLICY)
    with playing(world):
        parent, *_ = peopled(world, "busy", "busy")
        world.run(5.0)
        world.provider.rotate()
        world.provider.latency = (1.0, 1.2)
        parent.ask(world.token())
        world.run(5.4)
        child = parent.fork()
        life_in(world).populate(child, "busy")
        world.provider.latency = (0.01, 0.1)
        world.run(5.4 + POLICY.lease + ROUND + 2.0)
        must(world.provider.newest in child.knows(), "the child waits for a thread of its parent")
        world.run(30.0)
    return Result("fork", world)


@named
def a_restored_machine_refuses_no_good_token(seed: int) -> Result:
    """The monotonic clock has stood still for a moment or for long; new keys came meanwhile."""
    world = World(seed, replace(POLICY, wait_budget=0.0 if seed % 2 else 1.0), leeway=0.0)
    with playing(world):
        fleet = peopled(world, *["busy"] * 3)
        life_in(world).attack(60.0)
        for end in (8.0, 18.0, 30.0):
            world.run(end)
            fleet[0].freeze((3.5, 12.0)[seed % 2], restored=True)
            world.run(end + 1.0)
            world.provider.rotate(keep=1)
        world.run(70.0)
    return Result("restore", world)


@named
def a_look_that_a_freeze_has_cut_off_is_no_look(seed: int) -> Result:
    """A process is stopped while the answer to its look is on the way; the key is dropped meanwhile."""
    policy = replace(POLICY, lease=30.0, refresh_interval=12.0, check_interval=2.0, max_stale=300.0)
    world = World(seed, policy)
    world.excusable = False
    with playing(world):
        other, sleeper = Worker(world), Worker(world)
        other.ask(world.token())
        world.run(1.0)
        sleeper.ask(world.token())
        world.run(4.0)
        sleeper.ask(world.token())  # finds that a look is due, and starts it
        world.run(4.0015)
        sleeper.freeze(world.court.bounds.revocation + ROUND + 6.0)
        sleeper.disturbed_until = -1e9
        world.run(5.0)
        world.provider.rotate(keep=1)
        world.run(4.0015 + world.court.bounds.revocation + ROUND + 6.05)
        sleeper.ask(world.token(1))
        world.run(world.now + 1.0)
        sleeper.ask(world.token(1))
        world.run(world.now + 5.0)
    return Result("cut-off look", world)


@named
def an_outage_of_the_provider_is_served_through(seed: int) -> Result:
    """Known keys go on serving until `max_stale`, and not a moment longer."""
    world = World(seed, POLICY)
    with playing(world):
        fleet = peopled(world, *["busy"] * 3)
        world.run(6.0)
        world.provider.mode = "fails" if seed % 2 else "hangs"
        world.run(6.0 + POLICY.max_stale - 16.0)
        must(not world.court.verdicts[503, "overdue"], "a known key was refused while the provider failed")
        world.run(6.0 + POLICY.max_stale + 2.0)
        must(not any(worker.knows() for worker in fleet), "keys past max_stale are in use")
        world.provider.mode = "ok"
        world.run(world.now + 70.0 + POLICY.backoff_max + world.court.bounds.recovery)
        must(all(worker.knows() for worker in fleet), "the fleet did not recover")
    return Result("provider outage", world)


@named
def frozen_processes_look_before_they_serve(seed: int) -> Result:
    """`background=False`: a process that the platform freezes between requests."""
    world = World(seed, replace(POLICY, background=False, lease=20.0))
    world.excusable = False
    with playing(world):
        worker = Worker(world)
        other, *_ = peopled(world, "busy")
        for _ in range(12):
            worker.ask(world.token())
            world.run(world.now + 0.5)
            worker.freeze(world.random.uniform(3.0, 26.0))
            worker.disturbed_until = -1e9
            world.run(world.now + 1.0)
            world.provider.rotate(keep=1)
            while worker.process.frozen:
                world.run(world.now + 0.2)
            worker.ask(world.token(world.provider.newest - 1))
            worker.ask(world.token())
            world.run(world.now + 2.0)
        del other
    return Result("background=False", world)


@named
def rare_requests_find_revoked_keys_gone(seed: int) -> Result:
    """Requests rarer than the check interval, more often than the refresh interval (and rarer than both)."""
    world = strict(seed, replace(POLICY, lease=8.0))
    with playing(world):
        alone = Worker(world)
        alone.ask(world.token())
        world.run(0.5)
        world.provider.rotate(keep=1)
        for at in (world.random.uniform(8.0, 9.3), world.random.uniform(16.0, 18.0)):
            world.run(at)
            alone.ask(world.token(1))
        world.run(20.0)
        peopled(world, "semi-idle", "semi-idle", "idle")
        for end in (34.0, 60.0, 90.0):
            world.run(end)
            world.provider.rotate(keep=1)
        world.run(130.0)
    return Result("semi-idle", world)


@named
def a_row_of_strangers_costs_nobody_a_401(seed: int) -> Result:
    """Another service writes the row under its own seal, within the floor of a forced fetch."""
    world = World(seed, POLICY)
    world.court.judges_all = True
    with playing(world):
        fleet = [Worker(world) for _ in range(3)]
        for worker in fleet:
            worker.ask(world.token())
        life = life_in(world)
        for start in (8.0, 16.0):
            world.run(start)
            world.provider.rotate(keep=3)
            fleet[0].ask(world.token())  # arms the floor
            world.run(start + 1.0)
            life.do("stranger's row" if seed % 2 else "forged row")
            world.provider.rotate(keep=3)
            for worker in fleet[1:]:
                worker.ask(world.token(iat=False))
        world.run(20.0)
        world.court.judges_all = False
        for worker in fleet:
            life.populate(worker, "busy")
        world.run(40.0)
    return Result("strangers", world)


@named
def processes_of_one_request_find_revoked_keys_gone(seed: int) -> Result:
    """A fleet of nothing but short processes, which ask for nothing that would force a fetch."""
    world = strict(seed, replace(POLICY, lease=20.0))
    with playing(world):

        def live() -> None:
            worker = Worker(world)

            def once() -> None:
                if seed % 3 == 0:
                    worker.warm()
                worker.request(world.token(world.provider.newest - (world.now > 10.0)))
                worker.exit()

            worker.do(once)

        world.every(lambda: world.random.uniform(0.5, 3.0), live)
        world.run(10.0)
        world.provider.rotate(keep=1)
        world.run(50.0)
    return Result("one-shot", world)


@named
def keys_fetched_in_an_outage_are_not_replaced_by_older_ones(seed: int) -> Result:
    """`on_store_outage="fetch"`: what the row holds when it returns is newer for the process, and older."""
    policy = replace(POLICY, on_store_outage="fetch", refresh_interval=30.0, floor=2.0, check_interval=4.0)
    world = World(seed, policy)
    with playing(world):
        one, other = Worker(world), Worker(world)
        one.ask(world.token())
        world.run(1.0)
        world.database.modes[one.process.pid] = "down"
        world.provider.rotate(keep=3)
        other.ask(world.token())
        world.run(2.0)
        world.provider.rotate(keep=1)
        one.ask(world.token())  # fetches for itself
        world.run(3.0)
        must(one.knows() == {3}, "it did not fetch for itself")
        one.ask(world.token(1))
        world.run(3.5)
        world.database.modes.clear()
        for at in range(30):
            world.run(3.5 + at * 0.5)
            one.ask(world.token(1))
            one.ask(world.token())
    return Result("outage", world)


@named
def a_leader_that_wakes_up_late_books_no_failure(seed: int) -> Result:
    """A leader is stopped in mid-fetch and goes on after its lease, which nobody has taken meanwhile."""
    world = World(seed, POLICY)
    with playing(world):
        leader = Worker(world)
        leader.ask(world.token())
        world.run(6.0)
        world.provider.rotate()
        world.provider.latency = (0.8, 0.9)
        leader.ask(world.token())
        world.run(6.3)
        world.provider.latency = (0.01, 0.1)
        leader.freeze(8.0)
        world.run(20.0)
        life_in(world).populate(leader, "busy")
        world.run(40.0)
    must(world.row is not None and world.row.failure_event_count == 0, "a late leader has booked a failure")
    return Result("late leader", world)


@named
def a_lost_thread_is_ended_by_who_meets_its_flight(seed: int) -> Result:
    """Threads that are started and never begin, and threads that vanish in mid-flight."""
    world = World(seed, POLICY)
    with playing(world):
        worker, *_ = peopled(world, "busy")
        world.run(5.0)
        worker.process.lost_threads = True
        world.provider.rotate()
        worker.ask(world.token())
        world.run(8.0)
        worker.process.lost_threads = False
        world.run(40.0)
        must(world.provider.newest in worker.knows(), "the issuer is dead")
        world.provider.rotate()
        world.provider.latency = (1.0, 1.1)
        worker.ask(world.token())
        world.run(40.5)
        worker.process.lose_threads()
        world.provider.latency = (0.01, 0.1)
        world.run(70.0)
        must(world.provider.newest in worker.knows(), "the issuer is dead since its thread is")
    return Result("lost thread", world)


@named
def a_publish_under_a_fence_that_was_given_twice_changes_nothing(seed: int) -> Result:
    """The row is replaced by an older one in mid-fetch, and the database's clock is slow."""
    world = World(seed, replace(POLICY, refresh_interval=40.0, check_interval=20.0, lease=4.0))
    with playing(world):
        late, other = Worker(world), Worker(world)
        world.run(1.0)
        world.database.step = 3600.0
        late.ask(world.token())
        world.run(2.0)
        other.ask(world.token())
        world.run(3.0)
        world.database.step = 0.0
        before = world.row
        world.provider.rotate()
        late.ask(world.token())
        world.run(3.03)
        world.database.delays[late.process.pid] = 1.5
        world.run(3.5)
        world.change_row(lambda _: before)  # type: ignore[arg-type, return-value]
        world.provider.rotate(keep=1)
        other.ask(world.token())
        world.run(8.0)
        world.database.delays.clear()
        must(2 not in late.knows(), "it uses its own older keys, since somebody else's publish landed")
    return Result("fence given twice", world)


@named
def rows_that_were_written_by_others_stall_nobody(seed: int) -> Result:
    """Deadlines far ahead, numbers beyond all clocks, replays: the fleet is well within the horizons."""
    world = World(seed, POLICY)
    with playing(world):
        fleet = peopled(world, *["busy"] * 3)
        life = life_in(world)
        for end in (5.0, 12.0, 20.0, 27.0):
            world.run(end)
            life.old_rows.append(world.row)  # type: ignore[arg-type]
            life.do(world.random.choice(("far deadlines", "absurd numbers", "replayed row")))
            world.provider.rotate()
        world.run(27.0 + 60.0 + world.court.bounds.recovery)
        must(all(world.provider.newest in worker.knows() for worker in fleet), "the fleet is stalled")
    return Result("hostile rows", world)


@named
def a_restored_machine_uses_no_key_past_its_end(seed: int) -> Result:
    """The monotonic clock stands still for longer than the keys may live; no other bound counts."""
    world = World(seed, replace(POLICY, lease=60.0, max_stale=12.0, wait_budget=(0.0, 1.0)[seed % 2]))
    with playing(world):
        worker = Worker(world)
        worker.ask(world.token())
        world.run(1.0)
        worker.freeze(world.random.uniform(14.0, 40.0), restored=True)
        world.provider.rotate(keep=1)
        while worker.process.frozen:
            world.run(world.now + 0.5)
        for _ in range(3):
            worker.ask(world.token(1))
            world.run(world.now + 0.5)
    return Result("restore", world)


@named
def keys_that_came_after_a_clock_stood_still_are_no_older_for_it(seed: int) -> Result:
    """The first token after a machine was restored is of a new key, and nobody waits for that."""
    world = World(seed, replace(POLICY, max_stale=12.0, wait_budget=0.0))
    with playing(world):
        worker = Worker(world)
        for _ in range(2):
            worker.ask(world.token())
            world.run(world.now + 1.0)
        worker.freeze(world.random.uniform(14.0, 40.0), restored=True)
        while worker.process.frozen:
            world.run(world.now + 0.5)
        worker.disturbed_until = -1e9
        world.provider.rotate()
        for _ in range(3):
            worker.ask(world.token())
            world.run(world.now + 1.0)
        must(world.provider.newest in worker.knows(), "it has not got the key")
    return Result("restore", world)


@named
def a_clock_that_was_set_forward_makes_no_key_old(seed: int) -> Result:
    """A newer row comes to a worker after the database's clock went on by an hour."""
    world = strict(seed, replace(POLICY, background=False, wait_budget=0.1, max_stale=9000.0))
    with playing(world):
        idle, other = Worker(world), Worker(world)
        idle.ask(world.token())
        world.run(1.0)
        world.provider.rotate()
        other.ask(world.token())
        world.run(2.0)
        life_in(world).set_clock(3600.0)
        world.provider.latency = (0.8, 0.9)
        for _ in range(4):
            idle.ask(world.token(1))
            world.run(world.now + 0.3)
        world.run(12.0)
    return Result("clock", world)
