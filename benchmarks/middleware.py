"""What the middleware adds to a request, beside bare apps and beside what is commonly used instead.

    python benchmarks/middleware.py                    # RS256
    python benchmarks/middleware.py --algorithm ES256
    python benchmarks/middleware.py --only starlette   # or fastapi, django-wsgi, django-asgi
    python benchmarks/middleware.py --json             # for machines

Every cell of a group serves the same requests in process, without a server: GET, eight headers, 64 tokens
in turn. The cells of a round run in random order, in CPU time of the process, and a figure is the median
over the rounds of what a cell took more than the bare app *of the same round*, so that a machine that gets
slower for a while does not count for or against anybody. Needs PyJWT beside the package's own extras.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import io
import json
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

ISSUER, AUDIENCE = "https://login.example.com/", "orders-api"
TOKENS = 64
BATCH = 256  # requests of one cell in one round

BARE, VERIFY, OURS = "bare", "verify alone", "skeldir_jwt_mw"
REMEMBERED = "skeldir_jwt_mw, a remembered token"
FREE = "skeldir_jwt_mw, with a verify that costs nothing"
AUTHENTICATION = "AuthenticationMiddleware + PyJWKClient"
PYJWT = "a middleware with PyJWT + PyJWKClient"
EMPTY = "an empty async-capable middleware"

Batch = Callable[[], float]  # serves BATCH requests; CPU seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a group has to reach."""

    text: str
    figure: Callable[[Mapping[str, list[float]]], list[float]]  # of each round
    limit: float
    at_most: bool


def beyond(cell: str, *parts: str) -> Callable[[Mapping[str, list[float]]], list[float]]:
    """Microseconds per request that a cell took more than the parts together, by round."""

    def figure(seconds: Mapping[str, list[float]]) -> list[float]:
        sums = zip(*(seconds[part] for part in parts), strict=True)
        return [(mine - sum(theirs)) / BATCH * 1e6 for mine, theirs in zip(seconds[cell], sums, strict=True)]

    return figure


def cheaper(theirs: str) -> Callable[[Mapping[str, list[float]]], list[float]]:
    """How many times more than ours another cell adds to the bare app, by round."""

    def figure(seconds: Mapping[str, list[float]]) -> list[float]:
        rounds = zip(seconds[theirs], seconds[OURS], seconds[BARE], strict=True)
        return [(other - bare) / (ours - bare) for other, ours, bare in rounds]

    return figure


GOALS = {
    "starlette": (
        Goal(text="beyond verify", figure=beyond(FREE, BARE), limit=2.0, at_most=True),
        Goal(
            text="cheaper than AuthenticationMiddleware",
            figure=cheaper(AUTHENTICATION),
            limit=5.0,
            at_most=False,
        ),
    ),
    "fastapi": (),
    "django-wsgi": (Goal(text="cheaper than PyJWT", figure=cheaper(PYJWT), limit=4.0, at_most=False),),
    "django-asgi": (
        # No worse than those together; 5 us is what the noise of a handler of 400 us leaves undecided.
        Goal(text="beyond an empty one and verify", figure=beyond(FREE, EMPTY), limit=5.0, at_most=True),
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--algorithm", default="RS256", choices=("RS256", "PS256", "ES256", "EdDSA"))
    parser.add_argument("--only", choices=sorted(GOALS))
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    from middleware_apps import GROUPS  # which imports this module

    scene = Scene(options.algorithm)
    figures = {}
    for name in [options.only] if options.only else GROUPS:
        cells = GROUPS[name](scene)
        garbage = {cell: left_over(batch) for cell, batch in cells.items()}
        figures[name] = {**summary(name, measure(cells, options.rounds)), "garbage": garbage}
    if options.as_json:
        print(json.dumps(figures, indent=2))
        return
    print(f"Python {sys.version.split()[0]}, {options.algorithm}; medians of {options.rounds} paired rounds")
    for name, group in figures.items():
        print(f"\n{name}: a bare request takes {group['bare']:.1f} us of CPU; added to it")
        for cell, added in group["added"].items():
            left = group["garbage"][cell]
            print(f"  {cell:50}{added:8.1f} us" + (f", leaves {left:.0f} objects in cycles" if left else ""))
        for goal in group["goals"]:
            verdict = "reached" if goal["reached"] else "MISSED"
            bound = "at most" if goal["at_most"] else "at least"
            print(f"  goal: {goal['text']}: {goal['figure']:.1f}, {bound} {goal['limit']:.1f}: {verdict}")


def left_over(batch: Batch) -> float:
    """Objects that a request leaves to the garbage collector, because they refer to each other."""
    batch()  # warm up: caches, branch predictors, key sets
    gc.collect()
    gc.disable()
    batch()
    found = gc.collect() / BATCH
    gc.enable()
    return found


def measure(cells: Mapping[str, Batch], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each cell, by round."""
    gc.collect()
    gc.freeze()
    seconds: dict[str, list[float]] = {name: [] for name in cells}
    for _ in range(rounds):
        order = list(cells)
        random.shuffle(order)
        for name in order:
            seconds[name].append(cells[name]())
    return seconds


def summary(name: str, seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """The group's figures, in microseconds per request."""
    goals = []
    for goal in GOALS[name]:
        figure = statistics.median(goal.figure(seconds))
        reached = figure <= goal.limit if goal.at_most else figure >= goal.limit
        goals.append(
            {
                "text": goal.text,
                "figure": figure,
                "limit": goal.limit,
                "at_most": goal.at_most,
                "reached": reached,
            }
        )
    added = {
        cell: statistics.median(beyond(cell, BARE)(seconds)) for cell in seconds if cell not in (BARE, VERIFY)
    }
    bare, verify = (statistics.median(seconds[cell]) / BATCH * 1e6 for cell in (BARE, VERIFY))
    return {"bare": bare, "added": {VERIFY: verify, **added}, "goals": goals}


class Free:
    """A verifier that answers with one token, so that what is left is what a middleware costs."""

    def __init__(self, token: Any) -> None:
        self.verify = lambda *_: token

    async def averify(self, *_: Any) -> Any:
        """The token."""
        return self.verify()

    def status(self) -> dict[str, Any]:
        """No issuers."""
        return {}


class Scene:
    """The tokens and the ways to verify them."""

    def __init__(self, algorithm: str) -> None:
        import jwt

        from skeldir_jwt_mw import Issuer, RefreshPolicy, Verifier
        from skeldir_jwt_mw.sources import CallableSource
        from skeldir_jwt_mw.testing.tokens import SigningKey, mint

        key = SigningKey.generate(algorithm, kid="k1")
        jwks = {
            "keys": [key.jwk(), SigningKey.generate(algorithm, kid="k2").jwk()]
        }  # the current key and the next
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 3600, "client_id": "web"}
        scopes = {"scope": "orders:read orders:write"}
        tokens = [
            mint(key, {**claims, **scopes, "sub": f"auth0|{number:024x}", "jti": f"{number:032x}"})
            for number in range(TOKENS)
        ]
        self.tokens = [tokens[number % TOKENS] for number in range(BATCH)]
        policy = RefreshPolicy(refresh_interval=3600, check_interval=1800, floor=1800)

        def verifier(**options: int) -> Verifier:
            source = CallableSource(lambda: jwks, identity="benchmark")
            made = Verifier([Issuer(ISSUER, audience=AUDIENCE, source=source)], policy=policy, **options)
            made.warm()
            return made

        self.verifier, self.remembering = verifier(), verifier(token_cache=1000)
        self.free = Free(self.verifier.verify(tokens[0]))
        self.client = jwt.PyJWKClient("https://login.example.com/jwks")
        self.client.jwk_set_cache.put(jwks)

        def with_pyjwt(token: str) -> dict[str, Any]:
            signing_key = self.client.get_signing_key_from_jwt(token)
            return jwt.decode(token, signing_key, algorithms=[algorithm], audience=AUDIENCE, issuer=ISSUER)

        self.with_pyjwt = with_pyjwt
        self.loop = asyncio.new_event_loop()

    def verify(self) -> float:
        """The verification alone, without any request."""
        verify, tokens = self.verifier.verify, [token.encode() for token in self.tokens]
        started = time.process_time()
        for token in tokens:
            verify(token)
        return time.process_time() - started

    def asgi(self, app: Callable[..., Awaitable[None]], path: str = "/orders") -> Batch:
        """Serves the requests one after the other, as a server's scopes bring them."""
        lines = [
            (b"host", b"orders.example.com"),
            (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
            (b"accept", b"application/json"),
            (b"accept-language", b"en-US,en;q=0.5"),
            (b"accept-encoding", b"gzip, deflate, br, zstd"),
            (b"x-forwarded-for", b"192.0.2.1"),
            (b"x-request-id", b"4bf92f3577b34da6a3ce929d0e0e4736"),
        ]

        async def serve(scopes: list[dict[str, Any]]) -> float:
            started = time.process_time()
            for scope in scopes:
                read = False

                async def receive() -> dict[str, Any]:
                    nonlocal read
                    if read:
                        await asyncio.Future()  # the client stays
                    read = True
                    return {"type": "http.request", "body": b"", "more_body": False}

                await app(scope, receive, send)
            return time.process_time() - started

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                assert message["status"] == 200

        def batch() -> float:
            scopes = [
                {
                    "type": "http",
                    "asgi": {"version": "3.0", "spec_version": "2.4"},
                    "http_version": "1.1",
                    "method": "GET",
                    "scheme": "http",
                    "server": ("127.0.0.1", 8000),
                    "client": ("127.0.0.1", 50000),
                    "path": path,
                    "raw_path": path.encode(),
                    "root_path": "",
                    "query_string": b"",
                    "headers": [*lines, (b"authorization", f"Bearer {token}".encode())],
                }
                for token in self.tokens
            ]
            return self.loop.run_until_complete(serve(scopes))

        return batch

    def wsgi(self, app: Callable[..., Any]) -> Batch:
        """Serves the requests one after the other, as a server's environs bring them."""

        def start_response(status: str, *_: Any) -> None:
            assert status.startswith("200")

        def batch() -> float:
            environs = [
                {
                    "REQUEST_METHOD": "GET",
                    "PATH_INFO": "/orders",
                    "SCRIPT_NAME": "",
                    "QUERY_STRING": "",
                    "SERVER_NAME": "127.0.0.1",
                    "SERVER_PORT": "8000",
                    "SERVER_PROTOCOL": "HTTP/1.1",
                    "wsgi.input": io.BytesIO(),
                    "wsgi.url_scheme": "http",
                    "HTTP_HOST": "orders.example.com",
                    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0",
                    "HTTP_ACCEPT": "application/json",
                    "HTTP_ACCEPT_LANGUAGE": "en-US,en;q=0.5",
                    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br, zstd",
                    "HTTP_X_FORWARDED_FOR": "192.0.2.1",
                    "HTTP_X_REQUEST_ID": "4bf92f3577b34da6a3ce929d0e0e4736",
                    "HTTP_AUTHORIZATION": f"Bearer {token}",
                }
                for token in self.tokens
            ]
            started = time.process_time()
            for environ in environs:
                response = app(environ, start_response)
                b"".join(response)
                getattr(response, "close", lambda: None)()
            return time.process_time() - started

        return batch


if __name__ == "__main__":
    main()
