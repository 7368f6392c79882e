"""Places orders over the WebSocket: `python counter.py URL TOKEN ITEM ...`."""

# ruff: noqa: T201  # it prints what comes back

from __future__ import annotations

import sys

from websockets.sync.client import connect

url, token, *items = sys.argv[1:]
with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
    print(socket.recv())
    for item in items:
        socket.send(item)
        print(socket.recv())
