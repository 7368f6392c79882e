"""A fetch imports nothing: first fetches run side by side, and would meet each other's half-made modules.

And a process that lives in a chroot, or has dropped its rights, may not be able to read its libraries later.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from raw_server import OK, RawServer, drips, hangs, says
from secured import Authority, Proxy, context_for

from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey

CODE = """if True:
    import json, sys
    from skeldir_jwt_mw import Issuer, Verifier
    from skeldir_jwt_mw.sources import CallableSource
    kind, issuer, jwks_url, ring = json.loads(sys.argv[1])
    more = {
        "url": {"jwks_url": jwks_url},
        "discovery": {},
        "callable": {"source": CallableSource(lambda: ring, identity="ring")},
    }[kind]
    verifier = Verifier(
        Issuer(issuer, audience="orders-api", allow_http=True, allow_private_hosts=True, **more)
    )
    before = set(sys.modules)
    verifier.warm()
    print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.mark.parametrize("kind", ["url", "discovery", "callable"])
def test_a_first_fetch_imports_nothing(kind: str) -> None:
    with LoopbackIssuer() as idp:
        ring = json.dumps({"keys": {"a": SigningKey.generate(kid="a").public_pem()}})
        arguments = json.dumps([kind, idp.issuer, idp.jwks_url, ring])
        assert ran(CODE, arguments) == []


# One way to fetch a process. Nothing can be imported once the source has been made.
LOCKED_OUT = """if True:
    import sys
    name, kind, place, options = __import__("json").loads(sys.argv[1])
    from skeldir_jwt_mw import sources
    if "client_cert" in options:
        options["client_cert"] = tuple(options["client_cert"])
    if "headers" in options:
        given = options["headers"]
        options["headers"] = lambda: given
    source = getattr(sources, kind)(place, allow_private_hosts=True, **options)
    conditional, failed = sources.Conditional, sources.FetchFailed

    asked_for = []
    class Finder:
        @staticmethod
        def find_spec(name, *_):
            asked_for.append(name)
            raise ImportError(name)
    sys.meta_path[:] = [Finder]
    sys.path[:] = []
    sys.path_hooks[:] = []
    sys.path_importer_cache.clear()

    told = []
    etag = None
    for _ in range(2):
        try:
            fetched = source.fetch(conditional(etag=etag))
            told.append(fetched.document is not None)
            etag = fetched.etag
        except failed as failure:
            told.append([type(failure).__name__, failure.reason])
    seen = list(asked_for)
    sys.stdout.write(repr([told, seen]))
"""


def ran(code: str, argument: str) -> Any:
    command = [sys.executable, "-c", code, argument]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return ast.literal_eval(done.stdout)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What can be fetched in which way, by name: kind of source, place, options."""
    authority = Authority(tmp_path_factory.mktemp("authority"), "authority")
    ca_file, cert = str(authority.ca_file), authority.issue("client")
    with ExitStack() as stack:
        context = context_for(authority.issue("localhost", "127.0.0.1", "keys.example.com"))
        plain = stack.enter_context(LoopbackIssuer())
        secure = stack.enter_context(LoopbackIssuer(ssl_context=context))
        down = stack.enter_context(LoopbackIssuer())
        down.down(503, retry_after=9)
        absent = stack.enter_context(LoopbackIssuer())
        absent.down(404)
        port = secure.origin.rpartition(":")[2]
        proxy = stack.enter_context(Proxy(int(port)))
        at_proxy = f"http://user:p%40ss@{proxy.address}"
        closed = stack.enter_context(Proxy(int(port), answer=b"HTTP/1.1 407 No\r\n\r\n"))
        http = {"allow_http": True}

        def raw(script: Any) -> str:
            return f"http://127.0.0.1:{stack.enter_context(RawServer(script)).port}/"

        date = b"HTTP/1.1 429 X\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\nDate: x\r\n\r\n"
        yield {
            "http": ("JWKSUrlSource", plain.jwks_url, http),
            "http, by name": ("JWKSUrlSource", plain.jwks_url.replace("127.0.0.1", "localhost"), http),
            "headers": ("JWKSUrlSource", plain.jwks_url, {**http, "headers": {"X-Key": "k"}}),
            "headers that cannot be": ("JWKSUrlSource", plain.jwks_url, {**http, "headers": {"Host": "k"}}),
            "https": ("JWKSUrlSource", secure.jwks_url, {"ca_file": ca_file}),
            "https, by name": (
                "JWKSUrlSource",
                secure.jwks_url.replace("127.0.0.1", "localhost"),
                {"ca_file": ca_file, "client_cert": list(map(str, cert))},
            ),
            "not trusted": ("JWKSUrlSource", f"https://127.0.0.1:{port}/", {}),
            "no TLS there": ("JWKSUrlSource", plain.jwks_url.replace("http:", "https:"), {}),
            "proxy": (
                "JWKSUrlSource",
                "https://keys.example.com/.well-known/jwks.json",
                {"ca_file": ca_file, "proxy": at_proxy},
            ),
            "no proxy": (
                "JWKSUrlSource", "https://keys.example.com/", {"proxy": f"http://{closed.address}"}
            ),
            "discovery": ("DiscoverySource", plain.issuer, http),
            "discovery without": ("DiscoverySource", absent.issuer, http),
            "discovery, down": ("DiscoverySource", down.issuer, http),
            "down": ("JWKSUrlSource", down.jwks_url, http),
            "busy": ("JWKSUrlSource", raw(says(date)), http),
            "refused": ("JWKSUrlSource", "http://127.0.0.1:1/", http),
            "no name": ("JWKSUrlSource", f"https://{'a' * 64}.example/", {}),
            "silent": ("JWKSUrlSource", raw(hangs), {**http, "timeout": 0.2}),
            "slow": ("JWKSUrlSource", raw(drips(OK, b"X: y\r\n")), {**http, "timeout": 0.2}),
            "malformed": ("JWKSUrlSource", raw(says(b"\x16\x03")), http),
            "malformed chunk": (
                "JWKSUrlSource", raw(says(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")), http
            ),
            "coded": ("JWKSUrlSource", raw(says(OK + b"Content-Encoding: gzip\r\n\r\nx")), http),
            "too large": ("JWKSUrlSource", raw(says(OK + b"\r\n" + b"a" * 300_000)), http),
        }  # fmt: skip


GOOD = ["http", "http, by name", "headers", "https", "https, by name", "proxy", "discovery"]
BAD = {
    "headers that cannot be": ("Local", "returned what cannot be sent"),
    "not trusted": ("Fetch", "not trusted"),
    "no TLS there": ("Fetch", "TLS"),
    "no proxy": ("Fetch", "the proxy made no connection"),
    "discovery without": ("_NoMetadata", "no metadata .status 404"),
    "discovery, down": ("Status", "503"),
    "down": ("Status", "503"),
    "busy": ("Status", "429"),
    "refused": ("Fetch", "no connection"),
    "no name": ("Fetch", "could not be resolved"),
    "silent": ("Fetch", "in time"),
    "slow": ("Fetch", "in time"),
    "malformed": ("Fetch", "malformed"),
    "malformed chunk": ("Fetch", "cut short"),
    "coded": ("Fetch", "content coding"),
    "too large": ("Fetch", "larger"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_process_that_cannot_read_its_libraries_any_more_fetches(name: str, places: dict[str, Any]) -> None:
    told, asked_for = ran(LOCKED_OUT, json.dumps([name, *places[name]]))
    assert told == [True, False]  # the second time there is nothing new
    assert asked_for == []


@pytest.mark.parametrize("name", BAD)
def test_such_a_process_tells_what_went_wrong_as_any_other(name: str, places: dict[str, Any]) -> None:
    told, asked_for = ran(LOCKED_OUT, json.dumps([name, *places[name]]))
    kind, text = BAD[name]
    for failure in told:
        assert failure[0].startswith(kind)
        assert re.search(text, failure[1]), failure
    assert asked_for == []


def test_who_does_not_discover_does_not_load_what_discovery_needs() -> None:
    code = """if True:
        import sys
        from skeldir_jwt_mw.sources import JWKSUrlSource
        JWKSUrlSource("https://keys.example.com/")
        print([name for name in sys.modules if name.startswith("authlib.oauth2")])
    """
    assert ran(code, "") == []
