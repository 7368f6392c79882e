"""The tenant of a request is that request's own, in everything that it starts, and nobody's afterwards."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from identity import Signer
from live_servers import Server
from tenant_app import PIECES, TENANT_CLAIM, TOGETHER

TASKS, THREADS = 500, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An app of `tenant_app` and what serves it."""

    app: str
    needs: str | None  # a framework that has to be installed
    threaded: bool = False

    @property
    def together(self) -> int:
        """How many requests are inside at once."""
        return THREADS if self.threaded else TASKS


ALL = [
    Served(app="asgi", needs=None),
    Served(app="starlette", needs="starlette"),
    Served(app="fastapi", needs="fastapi"),
    Served(app="wsgi", needs=None, threaded=True),
    Served(app="flask", needs="flask", threaded=True),
    Served(app="django_wsgi", needs="django", threaded=True),
    Served(app="django_asgi", needs="django"),
]
INSTALLED = [one for one in ALL if one.needs is None or importlib.util.find_spec(one.needs) is not None]


class TenantServer(Server):
    """One app under its real server."""

    def __init__(self, served: Served, signer: Signer) -> None:
        self.served = served
        app = f"tenant_app:{served.app}"
        asynchronous = ("uvicorn", app, "--uds", "{socket}", "--log-level", "warning", "--lifespan", "off")
        threads = ("gunicorn", app, "--bind", "unix:{socket}", "--threads", str(THREADS))
        self.command = threads if served.threaded else asynchronous
        super().__init__({**signer.environ, TOGETHER: str(served.together)})

    def whose(self, tokens: list[str]) -> list[tuple[int, list[str]]]:
        """Status and lines of the answers to requests that are made at the same time, one for each token."""

        async def ask(token: str) -> tuple[int, list[str]]:
            reader, writer = await asyncio.open_unix_connection(self.path)
            head = ["GET /whose HTTP/1.0", "Host: localhost", f"Authorization: Bearer {token}"]
            writer.write("\r\n".join([*head, "", ""]).encode())
            answer = (await reader.read()).decode()
            writer.close()
            status, _, body = answer.partition("\r\n\r\n")
            return int(status.split()[1]), [line for line in body.splitlines() if ":" not in line]

        async def ask_all() -> list[tuple[int, list[str]]]:
            return await asyncio.gather(*map(ask, tokens))

        return asyncio.run(ask_all())

    def later(self) -> dict[str, Any]:
        """What was seen after the answers."""
        answer: dict[str, Any] = json.loads(self.send("GET", "/later", []).body)
        return answer


@pytest.fixture(scope="module", params=INSTALLED, ids=lambda served: served.app)
def server(request: pytest.FixtureRequest, signer: Signer) -> Iterator[TenantServer]:
    with TenantServer(request.param, signer) as running:
        yield running


def eventually(state: Callable[[], dict[str, Any]], kind: str, count: int) -> dict[str, Any]:
    """The state once it tells of so many, for what happens after an answer takes a moment."""
    deadline = time.monotonic() + 20
    while len((told := state())[kind]) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    return told


def test_every_part_of_concurrent_requests_sees_its_own_tenant_and_nobodys_afterwards(
    server: TenantServer, signer: Signer
) -> None:
    tenants = [f"tenant-{number}" for number in range(server.served.together)]
    answers = server.whose([signer.token(**{TENANT_CLAIM: tenant}) for tenant in tenants])
    for tenant, (status, seen) in zip(tenants, answers, strict=True):
        assert status == 200
        assert len(seen) >= PIECES + 3
        assert set(seen) == {tenant}
    told = eventually(server.later, "background", len(tenants))
    assert sorted(told["background"]) == sorted([tenant, tenant] for tenant in tenants)
    server.send("GET", "/release", [])
    told = eventually(server.later, "outliving", len(tenants))
    assert sorted(whose for whose, _ in told["outliving"]) == sorted(tenants)
    assert {seen for _, seen in told["outliving"]} == {None}
    assert told["now"] is None


MALFORMED = {
    "missing": None,
    "empty": "",
    "a number": 7,
    "a boolean": True,
    "a list": ["tenant-1"],
    "an object": {"id": "tenant-1"},
    "a line break": "tenant-1\ntenant-2",
    "a NUL": "tenant-1\0",
    "too long": "t" * 5000,
}


@pytest.mark.parametrize("tenant", MALFORMED.values(), ids=MALFORMED)
def test_r36_a_token_without_a_well_formed_tenant_is_refused(
    server: TenantServer, signer: Signer, tenant: object
) -> None:
    answer = server.send(
        "GET", "/whose", [("Authorization", f"Bearer {signer.token(**{TENANT_CLAIM: tenant})}")]
    )
    assert answer.status == 401
    assert b"tenant" not in answer.body
    assert 'error="invalid_token"' in (answer.header("www-authenticate") or "")
