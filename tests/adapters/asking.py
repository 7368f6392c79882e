"""Asking an ASGI app once."""

from __future__ import annotations

import asyncio
import json
from typing import Any


def ask_status(app: Any, path: str, token: str | None, *, root_path: str = "") -> tuple[int | None, Any]:
    """Status and JSON body of the app's answer; None where there was none."""
    return asyncio.run(_ask(app, path, token, root_path))


async def _ask(app: Any, path: str, token: str | None, root_path: str) -> tuple[int | None, Any]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "server": ("localhost", 80),
        "path": path,
        "root_path": root_path,
        "query_string": b"",
        "headers": [] if token is None else [(b"authorization", f"Bearer {token}".encode())],
    }
    await app(scope, receive, send)
    status = next((message["status"] for message in sent if "status" in message), None)
    body = b"".join(message.get("body", b"") for message in sent)
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body
