"""The queue between those who place orders and the workers: files, so that no broker has to be installed.

Whoever may read the folder can read the tokens in it, as with any broker.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES, filesystem

FOLDER = Path(os.environ.get("ORDERS_QUEUE") or Path(__file__).with_name("queue")).resolve()
MESSAGES, DRAFTS, CONTROL, RESULTS = (FOLDER / name for name in ("messages", "drafts", "control", "results"))
for folder in (MESSAGES, DRAFTS, CONTROL, RESULTS):
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


class Channel(filesystem.Channel):
    """Shows a message when it is whole. Kombu's own makes its file first, and a worker may take it empty."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        name = f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg"
        (DRAFTS / name).write_text(json.dumps(payload), encoding="utf-8")
        (DRAFTS / name).rename(MESSAGES / name)


class Transport(filesystem.Transport):
    Channel = Channel


TRANSPORT_ALIASES["files"] = f"{__name__}:Transport"
app = Celery("orders", broker="files://", backend=RESULTS.as_uri())
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(MESSAGES),
        "data_folder_out": str(MESSAGES),
        "control_folder": str(CONTROL),
        "polling_interval": 0.1,
    },
    broker_connection_retry_on_startup=True,
    worker_enable_remote_control=False,
    worker_prefetch_multiplier=1,
)


class Refused(Exception):
    """The task's token is not good, or not any more; the text is the code of the reason."""
