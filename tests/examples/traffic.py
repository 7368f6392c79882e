"""Requests that flow while the provider changes its keys."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from staging import FLOOR, Staged

WORKERS = 2
CLIENTS = 4
SEEN_BY_EACH = 5  # requests with the new key that each worker must have answered
PATIENCE = 60.0  # seconds


def assert_a_rotation_under_load_fails_no_request_and_costs_one_fetch(example: Staged) -> None:
    """Rotate while several clients ask without a pause; every worker gets to see the new key."""
    assert example.get("/whoami", example.token()).status == 200
    time.sleep(FLOOR)  # after the README's rotation
    before = example.counters()
    traffic = Traffic(example)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(traffic.flow) for _ in range(CLIENTS)]
        try:
            traffic.until_every_worker_has_served()
            example.rotate()
            traffic.go_on_with(example.token())
            traffic.until_every_worker_has_served()
        finally:
            traffic.stop()
    for client in clients:
        client.result()
    assert set(traffic.statuses) == {200}, traffic.statuses
    after = example.counters()
    assert after == tuple(count + 1 for count in before), (before, after)


class Traffic:
    """Requests without a pause from several clients, each over a connection of its own."""

    def __init__(self, example: Staged) -> None:
        self._example = example
        self._over = threading.Event()
        self._lock = threading.Lock()  # guards what follows; taken by every client
        self._token = example.token()
        self._served: Counter[int] = Counter()  # by worker, with the present token
        self.statuses: Counter[int] = Counter()

    def flow(self) -> None:
        """What a client does."""
        while not self._over.is_set():
            with self._lock:
                token = self._token
            answer = self._example.get("/whoami", token)
            with self._lock:
                self.statuses[answer.status] += 1
                if answer.status == 200 and token == self._token:
                    self._served[answer.json["worker"]] += 1

    def go_on_with(self, token: str) -> None:
        """Use this token from now on."""
        with self._lock:
            self._token = token
            self._served.clear()

    def until_every_worker_has_served(self) -> None:
        """Wait until each worker has answered some requests with the present token."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with self._lock:
                if len(self._served) == WORKERS and min(self._served.values()) >= SEEN_BY_EACH:
                    return
                assert time.monotonic() < deadline, (self._served, self.statuses)
            time.sleep(0.02)

    def stop(self) -> None:
        """End all clients after their present request."""
        self._over.set()
