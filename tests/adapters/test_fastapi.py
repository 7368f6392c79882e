"""What is FastAPI's own: scopes along routers and dependencies, OpenAPI, overrides, and the token's life."""

# FastAPI reads annotations, which name what stands in the functions around: no __future__ import here.

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Annotated, Any

import pytest
from calling import Result, collect
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Depends,
    FastAPI,
    HTTPException,
    Request,
    Security,
    WebSocket,
)
from fastapi.responses import JSONResponse, StreamingResponse
from identity import AUDIENCE, ISSUER, Signer, Verifiers
from request_table import INVALID_TOKEN, PLAIN

from skeldir_jwt_mw import ConfigurationError, Issuer, VerifiedToken, Verifier, current_token
from skeldir_jwt_mw.asgi import JWTMiddleware
from skeldir_jwt_mw.fastapi import JWTBearer, from_cookie, from_header
from skeldir_jwt_mw.sources import CallableSource, DiscoverySource, StaticSource

Headers = tuple[tuple[str, str], ...]


def subject() -> str | None:
    """Whose request this is."""
    token = current_token()
    return None if token is None else token.subject


def bearing(token: str) -> Headers:
    return (("Authorization", f"Bearer {token}"),)


def scope_of(path: str, headers: Headers, **more: Any) -> dict[str, Any]:
    lines = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "query_string": b""}
    return {**scope, "headers": lines, **more}


def get(app: Any, path: str, headers: Headers = (), **more: Any) -> Result:
    return asyncio.run(collect(app, scope_of(path, headers, **more)))


class Counting:
    """A verifier, and how often it was asked."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.asked = 0

    def verify(self, raw: str | bytes, scopes: Iterable[str] = ()) -> VerifiedToken:
        self.asked += 1
        return self._verifier.verify(raw, scopes)

    async def averify(self, raw: str | bytes, scopes: Iterable[str] = ()) -> VerifiedToken:
        self.asked += 1
        return await self._verifier.averify(raw, scopes)

    def status(self) -> dict[str, Any]:
        return self._verifier.status()


# -- scopes ------------------------------------------------------------------------------------------------


def shop(bearer: JWTBearer) -> FastAPI:
    """An app whose scopes come from the app, a router, the route, and a dependency's dependency."""
    app = FastAPI()

    def customer(token: Annotated[VerifiedToken, Security(bearer, scopes=["customers:read"])]) -> str:
        return token.subject

    def buyer(name: Annotated[str, Security(customer, scopes=["carts:write"])]) -> str:
        return name

    router = APIRouter(prefix="/admin", dependencies=[Security(bearer, scopes=["admin"])])

    @app.get("/open")
    def open_to_all() -> None: ...

    @app.get("/plain")
    def plain(token: Annotated[VerifiedToken, Depends(bearer)]) -> str:
        return token.subject

    @app.get("/orders")
    async def orders(token: Annotated[VerifiedToken, Security(bearer, scopes=["orders:read"])]) -> str:
        return token.subject

    @app.get("/carts")
    async def carts(name: Annotated[str, Depends(buyer)]) -> str:
        return name

    @router.get("/orders")
    async def all_orders(token: Annotated[VerifiedToken, Security(bearer, scopes=["orders:read"])]) -> str:
        return token.subject

    app.include_router(router)
    return app


@pytest.mark.parametrize(
    ("path", "scopes"),
    [
        ("/plain", ()),
        ("/orders", ("orders:read",)),
        ("/carts", ("carts:write", "customers:read")),
        ("/admin/orders", ("admin", "orders:read")),
    ],
)
def test_a_route_asks_for_the_scopes_of_all_that_lead_to_it(
    verifier: Verifier, signer: Signer, path: str, scopes: tuple[str, ...]
) -> None:
    app = shop(JWTBearer(verifier))
    good = get(app, path, bearing(signer.token(scope=" ".join(scopes))))
    assert (good.status, json.loads(good.body)) == (200, "user-1")
    assert get(app, path).status == 401
    for missing in scopes:
        held = " ".join(scope for scope in scopes if scope != missing)
        refused = get(app, path, bearing(signer.token(scope=held)))
        assert refused.status == 403
        challenge = refused.header("www-authenticate") or ""
        assert challenge.startswith(f'{PLAIN}, error="insufficient_scope"')
        assert missing in challenge.partition(' scope="')[2]
        assert json.loads(refused.body)["detail"]["error"] == "insufficient_scope"


def test_a_route_without_the_dependency_is_open(verifier: Verifier) -> None:
    assert get(shop(JWTBearer(verifier)), "/open").status == 200


@pytest.mark.parametrize(("scopes", "status"), [((), 200), (("orders:read",), 401)])
def test_optional_is_who_asks_for_no_scopes(
    verifier: Verifier, tokens: dict[str, str], scopes: tuple[str, ...], status: int
) -> None:
    app = FastAPI()
    bearer = JWTBearer(verifier, required=False)

    @app.get("/")
    def whoami(token: Annotated[VerifiedToken | None, Security(bearer, scopes=scopes)]) -> str | None:
        return None if token is None else token.subject

    nobody = get(app, "/")
    assert nobody.status == status
    assert nobody.header("www-authenticate") == (None if status == 200 else PLAIN)
    assert get(app, "/", bearing(tokens["valid"])).body == b'"user-1"'
    assert get(app, "/", bearing(tokens["expired"])).status == 401


# -- one verification --------------------------------------------------------------------------------------


def test_a_token_is_verified_once_however_many_dependencies_ask(verifier: Verifier, signer: Signer) -> None:
    counting = Counting(verifier)
    app = shop(JWTBearer(counting))
    assert get(app, "/admin/orders", bearing(signer.token(scope="admin orders:read"))).status == 200
    assert counting.asked == 1


@pytest.mark.parametrize("token", ["valid", "expired"])
def test_behind_the_middleware_of_its_verifier_nothing_is_verified_again(
    verifier: Verifier, tokens: dict[str, str], token: str
) -> None:
    counting = Counting(verifier)
    app = shop(JWTBearer(counting))
    app.add_middleware(JWTMiddleware, verifier=counting)
    answer = get(app, "/orders", bearing(tokens[token]))
    assert answer.status == (200 if token == "valid" else 401)
    assert counting.asked == 1


def test_the_middlewares_token_is_the_very_one(verifier: Verifier, tokens: dict[str, str]) -> None:
    app = FastAPI()
    app.add_middleware(JWTMiddleware, verifier=verifier)

    @app.get("/")
    def same(request: Request, token: Annotated[VerifiedToken, Depends(JWTBearer(verifier))]) -> bool:
        return token is request.scope["skeldir_jwt"] is current_token()

    assert get(app, "/", bearing(tokens["valid"])).body == b"true"


def test_another_verifier_judges_for_itself(verifier: Verifier, signer: Signer) -> None:
    keys = StaticSource(signer.jwks)
    billing = Verifier([Issuer(ISSUER, audience="billing-api", source=keys)])
    app = shop(JWTBearer(billing))
    app.add_middleware(JWTMiddleware, verifier=verifier)
    assert get(app, "/plain", bearing(signer.token())).status == 401
    assert get(app, "/plain", bearing(signer.token(aud="billing-api"))).status == 401  # the middleware
    assert get(app, "/plain", bearing(signer.token(aud=[AUDIENCE, "billing-api"]))).status == 200


def test_another_place_holds_another_token(verifier: Verifier, signer: Signer) -> None:
    app = shop(JWTBearer(verifier, token_getter=from_header("X-Token")))
    app.add_middleware(JWTMiddleware, verifier=verifier)
    outer = bearing(signer.token(sub="proxy"))
    assert get(app, "/plain", outer).status == 401
    answer = get(app, "/plain", (*outer, ("X-Token", signer.token(sub="ada"))))
    assert answer.body == b'"ada"'


def test_a_route_that_the_middleware_exempts_still_asks(verifier: Verifier, tokens: dict[str, str]) -> None:
    app = shop(JWTBearer(verifier))
    app.add_middleware(JWTMiddleware, verifier=verifier, exempt=("/",))
    assert get(app, "/open", bearing(tokens["expired"])).status == 200
    assert get(app, "/plain").status == 401
    assert get(app, "/plain", bearing(tokens["expired"])).header("www-authenticate") == INVALID_TOKEN
    assert get(app, "/plain", bearing(tokens["valid"])).status == 200


# -- OpenAPI -----------------------------------------------------------------------------------------------

DISCOVERED = {
    "type": "openIdConnect",
    "openIdConnectUrl": "https://login.example.com/.well-known/openid-configuration",
}
BEARER = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
JWKS_URL = "https://login.example.com/keys"


def scheme_of(bearer: JWTBearer, name: str = "JWTBearer") -> dict[str, Any]:
    schemes: dict[str, dict[str, Any]] = shop(bearer).openapi()["components"]["securitySchemes"]
    assert list(schemes) == [name]
    return schemes[name]


@pytest.mark.parametrize(
    ("issuers", "scheme"),
    [
        ([Issuer(ISSUER, audience=AUDIENCE)], DISCOVERED),
        ([Issuer(ISSUER.rstrip("/"), audience=AUDIENCE)], DISCOVERED),
        ([Issuer("orders", audience=AUDIENCE, source=DiscoverySource(ISSUER))], DISCOVERED),
        ([Issuer(ISSUER, audience=AUDIENCE, jwks_url=JWKS_URL)], BEARER),
        ([Issuer(ISSUER, audience=AUDIENCE, source=CallableSource(dict))], BEARER),
        ([Issuer(ISSUER, audience="a"), Issuer("https://login.example.org/", audience="a")], BEARER),
        (
            [Issuer(ISSUER + "{tid}/", audience="a", jwks_url=JWKS_URL, tenant_claim="tid")],
            BEARER,
        ),
    ],
)
def test_openapi_tells_where_the_issuer_is_discovered_if_there_is_one_such(
    issuers: list[Issuer], scheme: dict[str, str]
) -> None:
    assert scheme_of(JWTBearer(Verifier(issuers))) == scheme


def test_openapi_tells_the_header_or_cookie_that_is_read(verifier: Verifier) -> None:
    access = JWTBearer(verifier, token_getter=from_header("Cf-Access-Jwt-Assertion"))
    assert scheme_of(access) == {"type": "apiKey", "in": "header", "name": "Cf-Access-Jwt-Assertion"}
    session = JWTBearer(verifier, token_getter=from_cookie("__session"))
    assert scheme_of(session) == {"type": "apiKey", "in": "cookie", "name": "__session"}
    assert scheme_of(JWTBearer(verifier, token_getter=lambda headers: None)) == BEARER


def test_openapi_takes_a_name_and_a_description(verifier: Verifier) -> None:
    bearer = JWTBearer(verifier, scheme_name="Login", description="Ask the shop for one.")
    assert scheme_of(bearer, "Login") == {**BEARER, "description": "Ask the shop for one."}


def test_openapi_is_told_the_issuers_of_now() -> None:
    verifier = Verifier([Issuer(ISSUER, audience=AUDIENCE)])
    bearer = JWTBearer(verifier)
    verifier.set_issuers([Issuer("https://login.example.org/", audience=AUDIENCE)])
    assert scheme_of(bearer)["openIdConnectUrl"].startswith("https://login.example.org/.well-known/")


def test_openapi_shows_what_each_route_asks_for(verifier: Verifier) -> None:
    paths = shop(JWTBearer(verifier)).openapi()["paths"]
    asked = {
        path: [
            {name: sorted(scopes) for name, scopes in one.items()} for one in item["get"].get("security", ())
        ]
        for path, item in paths.items()
    }
    assert asked == {
        "/open": [],
        "/plain": [{"JWTBearer": []}],
        "/orders": [{"JWTBearer": ["orders:read"]}],
        "/carts": [{"JWTBearer": ["carts:write", "customers:read"]}],
        "/admin/orders": [{"JWTBearer": ["admin", "orders:read"]}],
    }


# -- overrides ---------------------------------------------------------------------------------------------


def test_a_test_of_the_app_overrides_the_dependency(verifier: Verifier, tokens: dict[str, str]) -> None:
    bearer = JWTBearer(verifier)
    app = shop(bearer)
    app.dependency_overrides[bearer] = lambda: verifier.verify(tokens["valid"])
    for path in ("/plain", "/orders", "/carts", "/admin/orders"):
        assert get(app, path).body == b'"user-1"'
    app.dependency_overrides.clear()
    assert get(app, "/plain").status == 401


def test_equal_dependencies_stand_in_for_each_other(verifier: Verifier, verifiers: Verifiers) -> None:
    resource = {"resource": "https://api.example.com"}
    bearer = JWTBearer(verifier, resource=resource)
    same = JWTBearer(verifier, resource=dict(resource))
    assert bearer == same
    assert hash(bearer) == hash(same)
    getter = JWTBearer(verifier, token_getter=from_header("X-Token"))
    assert getter == JWTBearer(verifier, token_getter=from_header("X-Token"))
    others = [
        getter,
        JWTBearer(verifier),
        JWTBearer(verifier, required=False),
        JWTBearer(verifier, realm="orders"),
        JWTBearer(verifier, scheme_name="Login"),
        JWTBearer(verifiers.get(keys=False), resource=resource),
        object(),
    ]
    assert [other for other in others if other == bearer] == []
    assert len({bearer, same, *others}) == 1 + len(others)


def test_a_dependency_that_is_made_anew_for_every_route_is_overridden_by_its_equal(
    verifier: Verifier, tokens: dict[str, str]
) -> None:
    app = FastAPI()

    @app.get("/")
    def whoami(token: Annotated[VerifiedToken, Security(JWTBearer(verifier), scopes=["x"])]) -> str:
        return token.subject

    app.dependency_overrides[JWTBearer(verifier)] = lambda: verifier.verify(tokens["valid"])
    assert get(app, "/").body == b'"user-1"'


# -- the token's life --------------------------------------------------------------------------------------


def observing(bearer: JWTBearer, seen: list[str | None]) -> FastAPI:
    """An app that tells whose request it is wherever code of it runs."""
    app = FastAPI(dependencies=[Depends(bearer)])

    def dependency() -> Iterator[None]:  # in a thread
        seen.append(subject())
        yield
        seen.append(subject())

    @app.get("/thread")
    def in_a_thread() -> str | None:
        return subject()

    @app.get("/loop")
    async def in_the_loop(_: Annotated[None, Depends(dependency)]) -> str | None:
        return subject()

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            for _ in range(3):
                await asyncio.sleep(0)
                yield f"{subject()};"

        return StreamingResponse(parts())

    @app.get("/thread-stream")
    def thread_stream() -> StreamingResponse:
        return StreamingResponse(f"{subject()};" for _ in range(3))

    @app.get("/tasks")
    async def tasks(background: BackgroundTasks) -> None:
        def blocking() -> None:
            seen.append(subject())

        async def native() -> None:
            await asyncio.sleep(0)
            seen.append(subject())

        background.add_task(blocking)
        background.add_task(native)

    @app.get("/fails")
    async def fails() -> None:
        raise LookupError(subject())

    @app.get("/refuses")
    async def refuses() -> None:
        raise HTTPException(418, subject())

    return app


@pytest.mark.parametrize("behind_the_middleware", [False, True])
@pytest.mark.parametrize(
    ("path", "body", "noted"),
    [
        ("/thread", b'"ada"', []),
        ("/loop", b'"ada"', ["ada", "ada"]),
        ("/stream", b"ada;ada;ada;", []),
        ("/thread-stream", b"ada;ada;ada;", []),
        ("/tasks", b"null", ["ada", "ada"]),
        ("/refuses", b'{"detail":"ada"}', []),
    ],
)
def test_the_token_is_the_current_one_until_the_response_is_done(
    verifier: Verifier, signer: Signer, behind_the_middleware: bool, path: str, body: bytes, noted: list[str]
) -> None:
    seen: list[str | None] = []
    app = observing(JWTBearer(verifier), seen)
    if behind_the_middleware:
        app.add_middleware(JWTMiddleware, verifier=verifier)

    async def main() -> Result:
        result = await collect(app, scope_of(path, bearing(signer.token(sub="ada"))))
        assert subject() is None
        return result

    assert asyncio.run(main()).body == body
    assert seen == noted


def test_a_route_that_fails_leaves_no_token_behind(verifier: Verifier, signer: Signer) -> None:
    app = observing(JWTBearer(verifier), [])

    async def main() -> None:
        with pytest.raises(LookupError, match="ada"):
            await collect(app, scope_of("/fails", bearing(signer.token(sub="ada"))))
        assert subject() is None

    asyncio.run(main())


def test_a_task_that_outlives_its_request_sees_no_token(verifier: Verifier, signer: Signer) -> None:
    app = FastAPI(dependencies=[Depends(JWTBearer(verifier))])
    release = asyncio.Event()
    running: list[asyncio.Task[list[str | None]]] = []

    async def outliving() -> list[str | None]:
        before = subject()
        await release.wait()
        return [before, subject()]

    @app.get("/start")
    async def start() -> None:
        running.append(asyncio.create_task(outliving()))
        await asyncio.sleep(0)

    @app.get("/finish")
    async def finish() -> list[str | None]:
        release.set()
        return [*await running[0], subject()]

    async def main() -> bytes:
        await collect(app, scope_of("/start", bearing(signer.token(sub="ada"))))
        return (await collect(app, scope_of("/finish", bearing(signer.token(sub="grace"))))).body

    assert json.loads(asyncio.run(main())) == ["ada", None, "grace"]


def test_each_of_many_concurrent_requests_sees_its_own_token(verifier: Verifier, signer: Signer) -> None:
    app = observing(JWTBearer(verifier), [])
    names = [f"user-{number}" for number in range(100)]

    async def main() -> list[Result]:
        scopes = [
            scope_of("/stream" if number % 2 else "/thread", bearing(signer.token(sub=name)))
            for number, name in enumerate(names)
        ]
        return await asyncio.gather(*(collect(app, scope) for scope in scopes))

    expected = [f"{name};" * 3 if number % 2 else f'"{name}"' for number, name in enumerate(names)]
    assert [result.body.decode() for result in asyncio.run(main())] == expected


# -- WebSockets --------------------------------------------------------------------------------------------


def talk(app: Any, headers: Headers, *messages: str, extensions: Any = None) -> list[dict[str, Any]]:
    """Play a WebSocket's client that sends some texts and goes; what the server would have sent it."""
    sent: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = [
        {"type": "websocket.connect"},
        *({"type": "websocket.receive", "text": text} for text in messages),
        {"type": "websocket.disconnect", "code": 1000},
    ]

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {**scope_of("/", headers), "type": "websocket", "extensions": extensions or {}}
    del scope["method"]

    async def main() -> None:
        await app(scope, receive, send)
        assert subject() is None

    asyncio.run(main())
    return sent


def chat(bearer: JWTBearer) -> FastAPI:
    app = FastAPI()

    @app.websocket("/")
    async def chat(
        websocket: WebSocket, token: Annotated[VerifiedToken, Security(bearer, scopes=["chat"])]
    ) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(f"{text} {token.subject} {subject()}")

    return app


def test_a_websocket_keeps_its_token_as_long_as_it_is_open(verifier: Verifier, signer: Signer) -> None:
    accept, *texts = talk(chat(JWTBearer(verifier)), bearing(signer.token(sub="ada", scope="chat")), "1", "2")
    assert accept["type"] == "websocket.accept"
    assert [message["text"] for message in texts] == ["1 ada ada", "2 ada ada"]


def test_a_websocket_without_the_scope_is_denied(verifier: Verifier, tokens: dict[str, str]) -> None:
    app, denial = chat(JWTBearer(verifier)), {"websocket.http.response": {}}
    start, body = talk(app, bearing(tokens["valid"]), extensions=denial)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 403)
    assert b'scope="chat"' in dict(start["headers"])[b"www-authenticate"]
    assert json.loads(body["body"])["detail"]["error"] == "insufficient_scope"
    (close,) = talk(app, bearing(tokens["valid"]))
    assert (close["type"], close["code"]) == ("websocket.close", 1008)


def test_a_websocket_that_something_else_has_accepted_is_closed(
    verifier: Verifier, tokens: dict[str, str]
) -> None:
    async def early(websocket: WebSocket) -> None:
        await websocket.accept()

    app = FastAPI()

    @app.websocket("/", dependencies=[Depends(early), Depends(JWTBearer(verifier))])
    async def never(websocket: WebSocket) -> None:
        raise AssertionError

    accept, close = talk(app, bearing(tokens["expired"]), extensions={"websocket.http.response": {}})
    assert (accept["type"], close["type"], close["code"]) == ("websocket.accept", "websocket.close", 1008)


# -- answers and configuration -----------------------------------------------------------------------------


def test_the_apps_handler_may_write_the_answer(verifier: Verifier, tokens: dict[str, str]) -> None:
    app = shop(JWTBearer(verifier))

    @app.exception_handler(HTTPException)
    async def problem(request: Request, error: HTTPException) -> JSONResponse:
        code = getattr(error.__cause__, "code", None)
        return JSONResponse({"title": error.detail["error"], "log": code}, error.status_code, error.headers)

    answer = get(app, "/plain", bearing(tokens["expired"]))
    assert (answer.status, answer.header("www-authenticate")) == (401, INVALID_TOKEN)
    assert json.loads(answer.body) == {"title": "invalid_token", "log": "expired"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"realm": ""}, "realm"),
        ({"required": "no"}, "required"),
        ({"resource": "/orders"}, "resource"),
        ({"token_getter": "Authorization"}, "token_getter"),
        ({"verifier": object()}, "verifier"),
    ],
)
def test_a_wrong_option_is_named_when_the_dependency_is_made(
    verifier: Verifier, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        JWTBearer(**{"verifier": verifier, **options})


def test_options_that_a_dependency_cannot_have_are_type_errors(verifier: Verifier) -> None:
    for name in ("exempt", "exempt_preflight"):
        with pytest.raises(TypeError, match=name):
            JWTBearer(verifier, **{name: ()})  # type: ignore[arg-type]


def test_without_a_verifier_the_environment_describes_it(
    monkeypatch: pytest.MonkeyPatch, signer: Signer
) -> None:
    settings = {"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "EXEMPT": ["/"], "REALM": "orders"}
    monkeypatch.setenv("SKELDIR_JWT_CONFIG", json.dumps(settings))
    bearer = JWTBearer()
    assert scheme_of(bearer) == DISCOVERED
    refused = get(shop(bearer), "/plain")  # exempt paths are the middleware's
    assert (refused.status, refused.header("www-authenticate")) == (401, 'Bearer realm="orders"')
    assert get(shop(bearer), "/open").status == 200
    bearer._guard.verifier.set_issuers(  # type: ignore[attr-defined]  # it is a Verifier
        Issuer(ISSUER, audience=AUDIENCE, source=StaticSource(signer.jwks))
    )
    assert get(shop(bearer), "/plain", bearing(signer.token())).status == 200


def test_a_route_at_the_place_of_the_metadata_asks_as_any_other(verifier: Verifier, signer: Signer) -> None:
    app = FastAPI()
    bearer = JWTBearer(verifier, resource="https://api.example.com")

    @app.get("/.well-known/oauth-protected-resource", dependencies=[Depends(bearer)])
    def metadata() -> str:
        return "ours"

    refused = get(app, "/.well-known/oauth-protected-resource")
    assert refused.status == 401
    assert "resource_metadata=" in (refused.header("www-authenticate") or "")
    assert get(app, "/.well-known/oauth-protected-resource", bearing(signer.token())).body == b'"ours"'


def test_a_request_leaves_nothing_to_the_garbage_collector(verifier: Verifier, signer: Signer) -> None:
    app = observing(JWTBearer(verifier), [])

    def tokens_alive() -> int:
        return sum(
            type(thing) is VerifiedToken for thing in gc.get_objects()
        )  # isinstance would ask lazy ones

    async def main() -> None:
        for path in ("/loop", "/stream", "/tasks", "/refuses"):
            await collect(app, scope_of(path, bearing(signer.token())))

    asyncio.run(main())  # what is made once
    gc.collect()
    before = tokens_alive()
    gc.disable()
    try:
        asyncio.run(main())
        assert tokens_alive() == before
    finally:
        gc.enable()
