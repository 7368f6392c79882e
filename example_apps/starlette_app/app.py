"""An orders service on Starlette. Everything but `/health` and `/ready` needs an access token."""

# ruff: noqa: ARG001  # Starlette passes its arguments whether they are needed or not

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from skeldir_jwt_mw import JWTError, Verifier, current_token
from skeldir_jwt_mw.asgi import JWTMiddleware

verifier = Verifier.from_env()
database = AsyncConnectionPool(os.environ["DATABASE_URL"], min_size=1, max_size=4, open=False)


def caller() -> str:
    """Whose request this is: anywhere below the middleware, without passing the request along."""
    token = current_token()
    return "nobody" if token is None else token.subject


async def place(item: str) -> int:
    async with database.connection() as connection:
        rows = await connection.execute(
            "INSERT INTO orders (owner, item) VALUES (%s, %s) RETURNING id", (caller(), item)
        )
        return (await rows.fetchone())[0]


async def confirm(number: int) -> None:
    """Runs after the response, and still knows whose request it was."""
    async with database.connection() as connection:
        await connection.execute("UPDATE orders SET confirmed_by = %s WHERE id = %s", (caller(), number))


async def health(request: Request) -> Response:
    return JSONResponse({"status": "up"})


async def ready(request: Request) -> Response:
    return JSONResponse({"ready": verifier.ready}, status_code=200 if verifier.ready else 503)


async def whoami(request: Request) -> Response:
    user, scopes = request.user.display_name, sorted(request.auth.scopes)
    return JSONResponse({"user": user, "scopes": scopes, "worker": os.getpid()})


@requires("orders:read")
async def orders(request: Request) -> Response:
    async with database.connection() as connection:
        rows = await connection.execute(
            "SELECT id, item, confirmed_by FROM orders WHERE owner = %s ORDER BY id", (caller(),)
        )
        names = ("id", "item", "confirmed_by")
        return JSONResponse([dict(zip(names, row, strict=True)) async for row in rows])


@requires("orders:write")
async def new_order(request: Request) -> Response:
    item = str((await request.json())["item"])
    number = await place(item)
    return JSONResponse(
        {"id": number, "item": item}, status_code=201, background=BackgroundTask(confirm, number)
    )


@requires("orders:read")
async def export(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        """Made while the response is sent: row by row, by a cursor in the database."""
        async with database.connection() as connection, connection.cursor("export") as cursor:
            await cursor.execute("SELECT id, item FROM orders WHERE owner = %s ORDER BY id", (caller(),))
            async for number, item in cursor:
                yield f"{number},{item},{caller()}\n"

    return StreamingResponse(lines(), media_type="text/csv")


@requires("orders:write")
async def counter(websocket: WebSocket) -> None:
    """Places an order for every line of text, and tells its number."""
    await websocket.accept()
    await websocket.send_json({"hello": websocket.user.display_name})
    async for item in websocket.iter_text():
        await websocket.send_json({"id": await place(item), "owner": caller()})


async def keep_keys() -> None:
    """Looks for keys where there are none, at its own pace; probes only read."""
    while True:
        pause = 1.0
        try:
            if not verifier.ready:
                await verifier.awarm()
        except JWTError as error:  # the log has the reason
            pause = getattr(error, "retry_after", 30.0)
        await asyncio.sleep(pause)


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with database:
        async with database.connection() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(1)")  # the workers start together
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
                " owner text NOT NULL, item text NOT NULL, confirmed_by text)"
            )
        with contextlib.suppress(JWTError):  # start without the provider too; /ready tells
            await verifier.awarm()
        keeping = asyncio.create_task(keep_keys())
        yield
        keeping.cancel()
    await verifier.aclose()


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/health", health),
        Route("/ready", ready),
        Route("/whoami", whoami),
        Route("/orders", orders),
        Route("/orders", new_order, methods=["POST"]),
        Route("/orders/export", export),
        WebSocketRoute("/orders/counter", counter),
    ],
    middleware=[Middleware(JWTMiddleware, verifier=verifier, exempt=("/health", "/ready"))],
)
