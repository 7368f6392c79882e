"""The app behind every server: it says which process answered. `SERVICE` describes its verifier as JSON.

With `SERVICE_REFRESHES_UNTIL` a refresh is in the air when the import ends, for a server that forks after it;
the import goes on once the file of that name is there.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import skeldir_jwt_mw.asgi
import skeldir_jwt_mw.wsgi
from skeldir_jwt_mw import Issuer, KeysUnavailable, PostgresStore, RefreshPolicy, Verifier
from skeldir_jwt_mw.stores.base import Store

logging.basicConfig(level=logging.INFO, format="%(process)d %(levelname)s %(name)s %(message)s")


def verifier_of(text: str, store: Store | None = None) -> Verifier:
    """A verifier as the harness describes it, or with another store."""
    setup = json.loads(text)
    if store is None and setup["dsn"] is not None:
        store = PostgresStore(setup["dsn"], namespace=setup["namespace"])
    issuer = Issuer(
        setup["issuer"],
        audience=setup["audience"],
        jwks_url=setup["jwks_url"],
        allow_http=True,
        allow_private_hosts=True,
    )
    policy = RefreshPolicy(**setup["policy"])
    return Verifier([issuer], store=store, seal_keys=[bytes.fromhex(setup["seal_key"])], policy=policy)


verifier = verifier_of(os.environ["SERVICE"])


def is_refreshing() -> bool:
    """Whether a refresh is in the air in this process."""
    return any(status["refreshing"] for status in verifier.status().values())


def refresh_in_the_background(seen: Path) -> None:
    """Have a refresh in the air, as a service that warms up in a thread; `seen` appears once it fetches."""

    def warm() -> None:
        with suppress(KeysUnavailable):
            verifier.warm()

    threading.Thread(target=warm, daemon=True).start()
    while not seen.exists():
        time.sleep(0.005)


if "SERVICE_REFRESHES_UNTIL" in os.environ:
    refresh_in_the_background(Path(os.environ["SERVICE_REFRESHES_UNTIL"]))


def answer() -> bytes:
    """Who answers."""
    return json.dumps({"pid": os.getpid()}).encode()


def plain_wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The app of a service on WSGI."""
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer()]


async def plain_asgi(scope: Any, receive: Any, send: Any) -> None:
    """The app of a service on ASGI; it answers lifespan events as frameworks do."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer()})


wsgi = skeldir_jwt_mw.wsgi.JWTMiddleware(plain_wsgi, verifier=verifier)  # type: ignore[arg-type]
asgi = skeldir_jwt_mw.asgi.JWTMiddleware(plain_asgi, verifier=verifier)
