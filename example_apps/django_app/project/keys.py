"""Keys for a worker that has none: its probe only reads, so it looks for them itself, at its own pace."""

from __future__ import annotations

import threading
import time

from skeldir_jwt_mw import JWTError
from skeldir_jwt_mw.django import conf


def keep_keys() -> None:
    """A thread of each worker; what it finds serves all of its requests."""
    verifier = conf.verifier()
    while True:
        pause = 1.0
        try:
            if not verifier.ready:
                verifier.warm()
        except JWTError as error:  # the log has the reason
            pause = getattr(error, "retry_after", 30.0)
        time.sleep(pause)


def start() -> None:
    """Start it, in a worker and not before the fork."""
    threading.Thread(target=keep_keys, daemon=True).start()
