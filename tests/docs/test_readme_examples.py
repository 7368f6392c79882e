"""What the README shows works: its examples run, its tables are true, its commands find their tests."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pages import PAGES, ROOT, anchors, blocks, code_in, section, tables, text_of
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import skeldir_jwt_mw.asgi
import skeldir_jwt_mw.wsgi
from skeldir_jwt_mw import Issuer, RefreshPolicy, Verifier, current_token
from skeldir_jwt_mw.core.effects import Content
from skeldir_jwt_mw.core.seal import Sealer
from skeldir_jwt_mw.sources import CallableSource, FetchFailed, StaticSource
from skeldir_jwt_mw.testing import SigningKey, mint

README = text_of("README.md")
ASGI_EXAMPLE, WSGI_EXAMPLE = blocks(section(README, "Use"), "python")
ISSUER, AUDIENCE = "https://login.example.com/", "orders-api"
KEY = SigningKey.generate()


def token(**changes: Any) -> str:
    return mint(KEY, {"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "exp": 2**33, **changes})


def keys_at_hand() -> Issuer:
    """The example's issuer, whose keys need no network."""
    return Issuer(ISSUER, audience=AUDIENCE, source=StaticSource({"keys": [KEY.jwk()]}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]  # lower-case names
    body: bytes


Headers = tuple[tuple[str, str], ...]
Ask = Callable[[Any, str, Headers], Answer]


def ask_asgi(app: Any, path: str, headers: Headers) -> Answer:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "server": ("localhost", 443),
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
    }
    asyncio.run(app(scope, receive, send))
    found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent)
    return Answer(status=sent[0]["status"], headers=found, body=body)


def ask_wsgi(app: Any, path: str, headers: Headers) -> Answer:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": ""}
    for name, value in headers:
        name = f"HTTP_{name.upper().replace('-', '_')}"
        environ[name] = f"{environ[name]},{value}" if name in environ else value  # as servers join them
    started: list[tuple[str, list[tuple[str, str]]]] = []
    body = b"".join(app(environ, lambda status, headers: started.append((status, headers))))
    status, lines = started[0]
    return Answer(status=int(status[:3]), headers={n.lower(): v for n, v in lines}, body=body)


def shown() -> dict[str, Any]:
    found = current_token()
    return {"sub": None if found is None else found.subject}


async def orders(request: Request) -> JSONResponse:
    assert request["skeldir_jwt"] is current_token()
    return JSONResponse(shown())


@requires("orders:read")
async def reading(request: Request) -> JSONResponse:
    return JSONResponse({"scopes": request.auth.scopes, "name": request.user.display_name})


def starlette_app() -> Starlette:
    routes = [Route("/orders", orders), Route("/healthz", orders), Route("/reading", reading)]
    return Starlette(routes=routes)


def wsgi_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    assert environ["skeldir_jwt"] is current_token()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(shown()).encode()]


def bearer(raw: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {raw}")


# -- the examples ------------------------------------------------------------------------------------------


OLD, NEW = bytes(range(32)), bytes(range(100, 140))


def written(*keys: bytes) -> str:
    return ",".join(b64encode(key).decode() for key in keys)


# What the pages say may stand in the variable, and the keys that are meant.
SEAL_KEYS: Mapping[str, tuple[str, tuple[bytes, ...]]] = {
    "old": (written(OLD), (OLD,)),
    "old,new": (written(OLD, NEW), (OLD, NEW)),
    "new,old": (written(NEW, OLD), (NEW, OLD)),
    "new": (written(NEW), (NEW,)),
    "none": ("none", ()),
}


@pytest.fixture(params=SEAL_KEYS)
def seal_keys(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, ...]:
    """The variable in one of its documented forms."""
    text, keys = SEAL_KEYS[request.param]
    monkeypatch.setenv("SKELDIR_JWT_SEAL_KEYS", text)
    return keys


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the README's lines before the examples have set up."""
    monkeypatch.setenv("SKELDIR_JWT_DATABASE_URL", "postgresql://app@db/app")
    monkeypatch.setenv("SKELDIR_JWT_SEAL_KEYS", written(OLD))
    return {"app": starlette_app()}


def test_the_asgi_example_serves_verified_requests(scene: dict[str, Any]) -> None:
    exec(ASGI_EXAMPLE, scene)
    assert list(scene["verifier"].status()) == [ISSUER]
    scene["verifier"].set_issuers(keys_at_hand())
    assert ask_asgi(scene["app"], "/orders", ()).status == 401
    good = ask_asgi(scene["app"], "/orders", (bearer(token()),))
    assert (good.status, json.loads(good.body)) == (200, {"sub": "user-1"})
    exempt = ask_asgi(scene["app"], "/healthz", ())
    assert (exempt.status, json.loads(exempt.body)) == (200, {"sub": None})
    reads = ask_asgi(scene["app"], "/reading", (bearer(token(scope="orders:read")),))
    assert json.loads(reads.body) == {"scopes": ["orders:read"], "name": "user-1"}


def test_the_example_takes_every_documented_form_of_the_seal_keys(
    scene: dict[str, Any], seal_keys: tuple[bytes, ...]
) -> None:
    exec(ASGI_EXAMPLE, scene)
    sealer = scene["verifier"]._setup.sealer
    content = Content(generation=1, fetched_us=1, expires_us=2, etag=None, last_modified=None, payload=b"{}")
    for key in seal_keys:  # rows of every worker that is up to date with one of them are accepted
        assert sealer.inspect("row", content, Sealer([key]).seal("row", content)) == "good"
    assert sealer.seal("row", content) == Sealer(seal_keys).seal("row", content)


def programs() -> list[Path]:
    return [*PAGES, *sorted(ROOT.glob("example_apps/**/*.py")), *sorted(ROOT.glob("example_apps/**/*.md"))]


@pytest.mark.parametrize("page", programs(), ids=lambda page: f"{page.parent.name}/{page.name}")
def test_no_page_reads_seal_keys_in_a_way_of_its_own(page: Path) -> None:
    """Nothing but the library's own reader knows that there may be several."""
    text = page.read_text(encoding="utf-8")
    assert "b64decode" not in text
    assert not re.search(r"\[[^\]\n]*environ\W[^\n]*SEAL_KEYS", text)  # the whole text as one key of a list


def test_the_wsgi_example_serves_verified_requests(scene: dict[str, Any]) -> None:
    exec(ASGI_EXAMPLE, scene)
    scene["verifier"].set_issuers(keys_at_hand())
    scene["app"] = wsgi_app
    exec(WSGI_EXAMPLE, scene)
    assert ask_wsgi(scene["app"], "/orders", ()).status == 401
    good = ask_wsgi(scene["app"], "/orders", (bearer(token()),))
    assert (good.status, json.loads(good.body)) == (200, {"sub": "user-1"})
    assert json.loads(ask_wsgi(scene["app"], "/healthz", ()).body) == {"sub": None}


def test_without_a_framework_verify_is_all(scene: dict[str, Any]) -> None:
    exec(ASGI_EXAMPLE, scene)
    scene["verifier"].set_issuers(keys_at_hand())
    (call,) = [code for code in code_in(section(README, "Use")) if code.startswith("verifier.verify(")]
    assert eval(call, {**scene, "raw": token(scope="orders:read")}).subject == "user-1"
    with pytest.raises(skeldir_jwt_mw.InsufficientScope):
        eval(call, {**scene, "raw": token()})


@pytest.mark.parametrize("module", [skeldir_jwt_mw.asgi, skeldir_jwt_mw.wsgi])
def test_without_arguments_a_middleware_reads_the_variables(
    module: Any, scene: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKELDIR_JWT_ISSUER", ISSUER)
    monkeypatch.setenv("SKELDIR_JWT_AUDIENCE", AUDIENCE)
    middleware = module.JWTMiddleware(wsgi_app)
    assert list(middleware._guard.verifier.status()) == [ISSUER]


def test_the_commands_before_the_example_set_it_up(new_database: Callable[[], str]) -> None:
    (block,) = blocks(section(README, "Use"), "sh")
    script, replaced = re.subn(
        r"(?<=SKELDIR_JWT_DATABASE_URL=)\S+", lambda _: shlex.quote(new_database()), block
    )
    assert replaced == 1
    without_network = 'set -e\npip() { test "$1" = install; }\n'
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", f'{without_network}{script}\nprintf "%s" "$SKELDIR_JWT_SEAL_KEYS"'],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("applied 0001_create_jwt_verification_cache.sql")
    assert len(done.stdout.splitlines()[-1]) == 44  # 32 bytes in base64
    for path in re.findall(r"psql -f (\S+\.sql)", block):
        assert (ROOT / path).is_file()


# -- the table of answers ----------------------------------------------------------------------------------

NOBODYS = mint(KEY, {"iss": "https://elsewhere.example.com/", "exp": 2**33})

REQUESTS: Mapping[str, tuple[Headers, ...]] = {
    "no token, or another scheme than Bearer": ((), (("Authorization", "Basic dXNlcjpwYXNz"),)),
    "any token that is not right": (
        (bearer("rubbish"),),
        (bearer(NOBODYS),),
        (bearer(token(exp=1)),),
        (bearer(token(aud="another")),),
        (bearer(token()[:-4] + "AAAA"),),
    ),
    "two `Authorization` headers, or no b64token": (
        (bearer(token()), bearer(token())),
        (("Authorization", "Bearer"),),
        (bearer('"quoted"'),),
    ),
    "a scope is missing (`@requires`, in Starlette and FastAPI)": ((bearer(token()),),),
    "keys cannot be had now": ((bearer(token()),),),
}
FRAMEWORKS, ANSWERS = tables(section(README, "Use"))
ROWS = {row["request"]: row["answer"] for row in ANSWERS}


def no_keys() -> None:
    raise FetchFailed("the provider is away")


def apps_for(row: str) -> list[tuple[Ask, Any, str]]:
    """How to ask, whom, and for which path."""
    issuer = keys_at_hand()
    if row == "keys cannot be had now":
        issuer = Issuer(ISSUER, audience=AUDIENCE, source=CallableSource(no_keys))  # type: ignore[arg-type]
    verifier = Verifier([issuer], policy=RefreshPolicy(wait_budget=5))
    asgi = skeldir_jwt_mw.asgi.JWTMiddleware(starlette_app(), verifier)
    if "@requires" in row:
        return [(ask_asgi, asgi, "/reading")]
    wsgi = skeldir_jwt_mw.wsgi.JWTMiddleware(wsgi_app, verifier)
    return [(ask_asgi, asgi, "/orders"), (ask_wsgi, wsgi, "/orders")]


def test_every_row_of_the_table_is_asked() -> None:
    assert set(ROWS) == set(REQUESTS)


@pytest.mark.parametrize("row", REQUESTS)
def test_the_answer_is_the_one_in_the_table(row: str) -> None:
    said = ROWS[row]
    bodies: set[bytes] = set()
    for ask, app, path in apps_for(row):
        for headers in REQUESTS[row]:
            answer = ask(app, path, headers)
            assert answer.status == int(said[:3])
            for code in code_in(said):
                name, colon, value = code.partition(": ")
                if colon:
                    assert answer.headers[name.lower()] == value
                elif code == "Retry-After":
                    assert int(answer.headers["retry-after"]) >= 1
                else:
                    assert json.loads(answer.body)["error"] == code
                    assert f'error="{code}"' in answer.headers["www-authenticate"]
            bodies.add(answer.body)
    if "one fixed text" in said:
        assert len(bodies) == 1


@pytest.mark.parametrize("row", FRAMEWORKS, ids=lambda row: row["framework"])
def test_the_line_for_a_framework_names_what_is_there(row: dict[str, str]) -> None:
    """Its page shows the line at work, and a test runs that page."""
    lines = " ".join(code_in(row["the line"]))
    for name in re.findall(r"skeldir_jwt_mw(?:\.\w+)+", lines):
        module, _, attribute = name.rpartition(".")
        path = ROOT / module.replace(".", "/")
        home = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        assert (path / attribute).is_dir() or attribute in home.read_text(encoding="utf-8")
    assert "docs/" in row["page"] or "example_apps/" in row["page"]


# -- the guarantees and the links --------------------------------------------------------------------------

GUARANTEES = tables(section(README, "Guarantees, and the command that proves each"))[0]
COMMANDS = [code for row in GUARANTEES for code in code_in(row["proof"])]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_of_a_guarantee_finds_its_tests(command: str) -> None:
    program, *arguments = shlex.split(command)
    if program == "python":
        assert (ROOT / arguments[0]).is_file()
        return
    assert program == "pytest"
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        collect, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if "::test_" in line]


def test_every_guarantee_has_a_command() -> None:
    assert len(COMMANDS) == len(GUARANTEES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = []
    for target in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", text):
        place, _, anchor = target.partition("#")
        there = (page.parent / place).resolve() if place else page
        if not there.exists() or (anchor and anchor not in anchors(there.read_text(encoding="utf-8"))):
            broken.append(target)
    assert broken == []
