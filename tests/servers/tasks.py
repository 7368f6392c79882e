"""A Celery app whose one task verifies a token; the queue is a folder, so that no broker has to run."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES, filesystem


class Channel(filesystem.Channel):
    """Shows a message when it is whole. Kombu's own makes its file first, and a worker may take it empty."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        messages = Path(self.data_folder_out)
        name = f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg"
        draft = messages.parent / "drafts" / name
        draft.write_text(json.dumps(payload), encoding="utf-8")
        draft.rename(messages / name)


class Transport(filesystem.Transport):
    """Kombu's transport with that channel."""

    Channel = Channel


TRANSPORT_ALIASES["folder"] = f"{__name__}:Transport"


def queue_in(folder: Path) -> Celery:
    """An app whose messages and results are files in `folder`."""
    for name in ("messages", "drafts", "control", "results"):
        (folder / name).mkdir(exist_ok=True)
    app = Celery("service", broker="folder://", backend=(folder / "results").as_uri())
    app.conf.update(
        broker_transport_options={
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.05,
        },
        broker_connection_retry_on_startup=True,
        worker_enable_remote_control=False,
        worker_prefetch_multiplier=1,
    )
    return app


if "SERVICE_FOLDER" in os.environ:  # in a worker
    from service import verifier

    from skeldir_jwt_mw import InvalidToken, KeysUnavailable

    app = queue_in(Path(os.environ["SERVICE_FOLDER"]))

    @app.task(name="verify")
    def verify(token: str) -> tuple[int, int]:
        """The status that a web service would answer with, and who answers."""
        try:
            verifier.verify(token)
        except InvalidToken:
            return 401, os.getpid()
        except KeysUnavailable:
            return 503, os.getpid()
        return 200, os.getpid()
