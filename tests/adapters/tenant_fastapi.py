"""The service of `tenant_app` on FastAPI, which reads annotations and so wants a module of its own."""

from typing import Annotated

from fastapi import BackgroundTasks, FastAPI, Request, Response, Security
from fastapi.responses import StreamingResponse
from tenant_app import OPEN, observe, pieces, record, told, verifier

from skeldir_jwt_mw import VerifiedToken
from skeldir_jwt_mw.fastapi import JWTBearer

app = FastAPI()


@app.get("/whose")
async def whose(
    token: Annotated[VerifiedToken, Security(JWTBearer(verifier()))], tasks: BackgroundTasks
) -> StreamingResponse:
    """Tell one tenant a line, and note one afterwards."""
    tasks.add_task(record, "background", token.tenant)
    return StreamingResponse(pieces(await observe()))


def tell(request: Request) -> Response:
    """Tell what was seen after the answers."""
    return Response(told(request.url.path))


for path in OPEN:
    app.get(path)(tell)
