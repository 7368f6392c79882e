"""An orders service on FastAPI: each route says which scopes it asks for, and `/docs` shows them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import BackgroundTasks, FastAPI, Response, Security, WebSocket
from fastapi.responses import StreamingResponse
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from skeldir_jwt_mw import JWTError, VerifiedToken, Verifier, current_token
from skeldir_jwt_mw.fastapi import JWTBearer

verifier = Verifier.from_env()
bearer = JWTBearer(verifier)
Caller = Annotated[VerifiedToken, Security(bearer)]
Reader = Annotated[VerifiedToken, Security(bearer, scopes=["orders:read"])]
Writer = Annotated[VerifiedToken, Security(bearer, scopes=["orders:write"])]

database = AsyncConnectionPool(os.environ["DATABASE_URL"], min_size=1, max_size=4, open=False)


class NewOrder(BaseModel):
    item: str


class Order(NewOrder):
    id: int
    confirmed_by: str | None = None


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
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
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


app = FastAPI(title="Orders", lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "up"}


@app.get("/ready")
async def ready(response: Response) -> dict[str, bool]:
    response.status_code = 200 if verifier.ready else 503
    return {"ready": verifier.ready}


@app.get("/whoami")
async def whoami(token: Caller) -> dict[str, str | int | list[str]]:
    return {"user": token.subject, "scopes": sorted(token.scopes), "worker": os.getpid()}


@app.get("/orders")
async def orders(token: Reader) -> list[Order]:
    async with database.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT id, item, confirmed_by FROM orders WHERE owner = %s ORDER BY id", (token.subject,)
        )
        return [Order(**row) async for row in cursor]


@app.post("/orders", status_code=201)
async def new_order(order: NewOrder, token: Writer, tasks: BackgroundTasks) -> Order:
    number = await place(order.item, token.subject)
    tasks.add_task(confirm, number)
    return Order(id=number, item=order.item)


@app.get("/orders/export")
async def export(token: Reader) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        """Made while the response is sent: row by row, by a cursor in the database."""
        async with database.connection() as connection, connection.cursor("export") as cursor:
            await cursor.execute("SELECT id, item FROM orders WHERE owner = %s ORDER BY id", (token.subject,))
            async for number, item in cursor:
                yield f"{number},{item},{caller()}\n"

    return StreamingResponse(lines(), media_type="text/csv")


@app.websocket("/orders/counter")
async def counter(websocket: WebSocket, token: Writer) -> None:
    """Places an order for every line of text, and tells its number."""
    await websocket.accept()
    await websocket.send_json({"hello": token.subject})
    async for item in websocket.iter_text():
        await websocket.send_json({"id": await place(item, token.subject), "owner": caller()})


async def place(item: str, owner: str) -> int:
    async with database.connection() as connection:
        rows = await connection.execute(
            "INSERT INTO orders (owner, item) VALUES (%s, %s) RETURNING id", (owner, item)
        )
        return (await rows.fetchone())[0]


async def confirm(number: int) -> None:
    """Runs after the response, and still knows whose request it was."""
    async with database.connection() as connection:
        await connection.execute("UPDATE orders SET confirmed_by = %s WHERE id = %s", (caller(), number))


def caller() -> str:
    """Whose request this is: anywhere below the dependency, without passing the token along."""
    token = current_token()
    return "nobody" if token is None else token.subject
