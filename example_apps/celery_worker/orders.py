"""What an app that has a caller's token does with it: `python orders.py place TOKEN ITEM ...`.

`python orders.py read TOKEN` shows the caller's orders. `--delay SECONDS` leaves the tasks in the queue.
"""

# ruff: noqa: T201  # it prints what comes back

from __future__ import annotations

import argparse

from broker import app

parser = argparse.ArgumentParser()
parser.add_argument("verb", choices=["place", "read"])
parser.add_argument("token")
parser.add_argument("items", nargs="*")
parser.add_argument("--delay", type=float, default=0.0)
options = parser.parse_args()

# In a header and not among the arguments: those show up in logs, in results and in monitoring.
headers = {"token": options.token}
calls = [[item] for item in options.items] if options.verb == "place" else [[]]
sent = [
    app.send_task(f"orders.{options.verb}", args, headers=headers, countdown=options.delay) for args in calls
]
for args, result in zip(calls, sent, strict=True):
    outcome = result.get(timeout=60, propagate=False, interval=0.05)
    if result.successful():
        print(*args, outcome)
    else:
        print(*args, f"{type(outcome).__name__}: {outcome}")
    result.forget()
