"""A process that is forked with a refresh in the air and every lock held by another thread.

`python forked.py hooks` forks with the package's hooks, `python forked.py none` without, as under a server in
C: what the interpreter and its library renew is renewed there too, or a child could hang whatever it runs.
The child verifies a token of a new key, and so does the parent afterwards.
"""

# ruff: noqa: F401  # the standard library's hooks come first, and the package's find no way to be registered

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import faulthandler
import logging
import os
import random
import signal
import sys
import threading
import traceback

if sys.argv[1] == "none":
    del os.register_at_fork

from rig import PATIENCE, Rig, locks_in_reach, token
from scenes import hurried, leaves_nothing

LONGEST = 40  # seconds for the child


def main() -> int:
    rig = Rig(wait_budget=PATIENCE)
    rig.verifier.warm()
    rig.rotation = 1
    raws = [token(1), token(2)]
    rig.time.move(rig.policy.floor + 1)
    parent, entered, stay, held = os.getpid(), *(threading.Event() for _ in range(3))

    def hang() -> None:
        if os.getpid() == parent:
            entered.set()
            stay.wait(PATIENCE)

    def hold() -> None:
        locks = [lock for _, lock in locks_in_reach(rig.verifier, rig.store) if lock.acquire(blocking=False)]
        held.set()
        stay.wait(PATIENCE)
        for lock in locks:
            lock.release()

    rig.hook = hang
    refresher = rig.refresher
    refresher.demand("unknown_kid", rig.time.monotonic(), force=True)
    entered.wait(PATIENCE)
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(PATIENCE)

    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(LONGEST - 5, exit=True)  # in a thread of the system's
        signal.alarm(LONGEST)
        try:
            for raw in raws:
                assert rig.verifier.verify(raw).kid
                assert rig.verifier.verify(raw).kid  # from what is remembered
                rig.verifier.set_issuers(rig.verifier.issuers)
                rig.rotation += 1
                rig.time.move(rig.policy.floor + 1)
            assert (rig.verifier._threads.taken, refresher._flight) == (0, None)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    stay.set()
    holder.join()
    assert rig.verify()
    leaves_nothing(rig)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with hurried():
        sys.exit(main())
