"""The loopback identity provider itself, over real sockets."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from signing import the_key

from skeldir_jwt_mw.core.keys import Key, import_jwks
from skeldir_jwt_mw.core.signature import SUPPORTED_ALGORITHMS
from skeldir_jwt_mw.testing import IssuerProcess, LoopbackIssuer, SigningKey, mint

Issuer = LoopbackIssuer | IssuerProcess


@pytest.fixture(params=[LoopbackIssuer, IssuerProcess], ids=["in process", "own process"])
def idp(request: pytest.FixtureRequest) -> Iterator[Issuer]:
    with request.param() as running:
        yield running


def get(url: str, headers: dict[str, str] | None = None, timeout: float = 5) -> tuple[int, Any, bytes]:
    try:
        request = urllib.request.Request(url, headers=headers or {})
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def decoded(segment: str) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return members


def verifies(token: str, jwks: bytes) -> bool:
    header, _, signature = token.split(".")
    members = decoded(header)
    keys = import_jwks(jwks).for_algorithms(SUPPORTED_ALGORITHMS)
    found = the_key(keys.find(members["kid"], members["alg"]))
    if not isinstance(found, Key):
        return False
    signed = token.rpartition(".")[0].encode()
    return found.verify(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)), signed)


@pytest.mark.parametrize("alg", ["ES256", "RS256", "PS256", "EdDSA", "ES384", "ES512", "RS512", "PS384"])
def test_a_token_of_every_algorithm_verifies_with_the_published_keys(alg: str) -> None:
    with LoopbackIssuer(alg=alg) as idp:
        token = idp.token()
        assert decoded(token.split(".")[0]) == {"alg": alg, "typ": "at+jwt", "kid": idp.kids[0]}
        assert verifies(token, get(idp.jwks_url)[2])


def test_a_token_of_another_algorithm_publishes_a_key_for_it(idp: Issuer) -> None:
    token = idp.token(alg="EdDSA")
    assert len(idp.kids) == 2
    assert verifies(token, get(idp.jwks_url)[2])
    idp.token(alg="EdDSA")
    assert len(idp.kids) == 2


def test_a_token_says_what_it_is_told_to_say(idp: Issuer) -> None:
    token = idp.token(
        "alice",
        scopes=("a", "b"),
        expires_in=-60,
        claims={"roles": ["x"]},
        header={"typ": "JWT"},
        without=("jti",),
        tenant="t1",
    )
    header, payload = (decoded(segment) for segment in token.split(".")[:2])
    assert header["typ"] == "JWT"
    assert (payload["iss"], payload["aud"], payload["sub"]) == (idp.issuer, idp.audience, "alice")
    assert (payload["scope"], payload["roles"], payload["tenant"]) == ("a b", ["x"], "t1")
    assert payload["exp"] == payload["iat"] - 60
    assert "jti" not in payload


def test_a_strangers_token_is_signed_by_a_key_nobody_publishes(idp: Issuer) -> None:
    jwks = get(idp.jwks_url)[2]
    assert not verifies(idp.stranger_token(), jwks)
    assert not verifies(idp.stranger_token(kid=idp.kids[0]), jwks)
    assert decoded(idp.stranger_token().split(".")[0])["kid"] not in idp.kids


def test_a_made_up_kid_is_written_into_the_header_alone(idp: Issuer) -> None:
    assert decoded(idp.token(kid="made-up").split(".")[0])["kid"] == "made-up"
    assert "made-up" not in idp.kids


def test_rotation_and_retirement_show_in_the_document(idp: Issuer) -> None:
    (old,) = idp.kids
    new = idp.rotate()
    assert idp.kids == (new, old)
    assert [key["kid"] for key in json.loads(get(idp.jwks_url)[2])["keys"]] == [new, old]
    assert decoded(idp.token().split(".")[0])["kid"] == new
    idp.retire(old)
    assert idp.kids == (new,)
    late = idp.token(kid=old)
    assert decoded(late.split(".")[0])["kid"] == old
    assert not verifies(late, get(idp.jwks_url)[2])
    only = idp.rotate(keep_previous=False)
    assert idp.kids == (only,)
    with pytest.raises(ValueError, match=r"."):
        idp.retire("never published")


def test_requests_are_counted_and_remembered(idp: Issuer) -> None:
    before = time.monotonic()
    get(idp.jwks_url, {"X-Trace": "7"})
    get(idp.issuer + "/.well-known/openid-configuration")
    assert (idp.fetches, idp.answered, idp.discovery_fetches) == (1, 1, 1)
    first, second = idp.requests
    assert first.path == "/.well-known/jwks.json"
    assert first.headers["x-trace"] == "7"
    assert before < first.at < second.at < time.monotonic()
    idp.reset()
    assert (idp.fetches, idp.requests) == (0, [])


def test_an_unchanged_document_is_answered_with_304(idp: Issuer) -> None:
    _, headers, _ = get(idp.jwks_url)
    etag = headers["ETag"]
    assert get(idp.jwks_url, {"If-None-Match": etag})[0] == 304
    assert idp.not_modified == 1
    idp.rotate()
    assert get(idp.jwks_url, {"If-None-Match": etag})[0] == 200
    idp.configure(etag=False, last_modified=True, max_age=60)
    _, headers, _ = get(idp.jwks_url)
    assert headers["ETag"] is None
    assert headers["Cache-Control"] == "public, max-age=60"
    assert get(idp.jwks_url, {"If-Modified-Since": headers["Last-Modified"]})[0] == 304


def test_metadata_is_served_at_both_places_and_can_be_changed() -> None:
    with LoopbackIssuer(path="/tenant") as idp:
        for url in (
            idp.issuer + "/.well-known/openid-configuration",
            idp.origin + "/.well-known/oauth-authorization-server/tenant",
        ):
            document = json.loads(get(url)[2])
            assert (document["issuer"], document["jwks_uri"]) == (idp.issuer, idp.jwks_url)
        idp.describe("openid-configuration", {"issuer": "https://else.example"})
        document = json.loads(get(idp.issuer + "/.well-known/openid-configuration")[2])
        assert document["issuer"] == "https://else.example"
        idp.describe("openid-configuration", None)
        assert get(idp.issuer + "/.well-known/openid-configuration")[0] == 404


def test_down_slow_and_hang_last_until_up(idp: Issuer) -> None:
    idp.down(429, retry_after="7")
    status, headers, _ = get(idp.jwks_url)
    assert (status, headers["Retry-After"]) == (429, "7")
    idp.down(None)
    with pytest.raises((OSError, http.client.HTTPException)):
        get(idp.jwks_url)
    assert (idp.fetches, idp.answered) == (2, 0)
    idp.slow(0.2)
    began = time.monotonic()
    assert get(idp.jwks_url)[0] == 200
    assert time.monotonic() - began >= 0.2
    idp.hang()
    with pytest.raises(OSError, match="timed out"):
        get(idp.jwks_url, timeout=0.2)
    threading.Timer(0.1, idp.up).start()
    assert get(idp.jwks_url)[0] == 200
    idp.serve("not json")
    assert get(idp.jwks_url)[2] == b"not json"
    idp.serve(None)
    assert json.loads(get(idp.jwks_url)[2])["keys"]


def test_tokens_and_rotations_are_to_be_had_over_http_even_when_it_is_down(idp: Issuer) -> None:
    idp.down(None)

    def post(path: str, body: bytes, kind: str) -> dict[str, Any]:
        request = urllib.request.Request(idp.origin + path, data=body, headers={"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=5) as response:
            members: dict[str, Any] = json.load(response)
            return members

    form = "application/x-www-form-urlencoded"
    answer = post("/token", b"sub=bob&scope=a+b&expires_in=60&aud=else", form)
    payload = decoded(answer["access_token"].split(".")[1])
    assert (payload["sub"], payload["scope"], payload["aud"]) == ("bob", "a b", "else")
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 60)
    answer = post("/token", b'{"sub": "eve"}', "application/json")
    assert decoded(answer["access_token"].split(".")[1])["sub"] == "eve"
    assert post("/rotate", b"", form)["kid"] == idp.kids[0]
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        post("/token", b"[]", "application/json")
    refused.value.close()


def test_control_is_closed_to_whoever_lacks_the_secret(idp: Issuer) -> None:
    request = urllib.request.Request(idp.origin + "/_control/guess", data=b'{"verb": "rotate"}')
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        urllib.request.urlopen(request, timeout=5)
    refused.value.close()
    assert len(idp.kids) == 1


def test_many_clients_may_connect_at_once(idp: Issuer) -> None:
    address = (idp.origin.rpartition(":")[0].removeprefix("http://"), int(idp.origin.rpartition(":")[2]))
    sockets = [socket.create_connection(address, timeout=5) for _ in range(150)]
    try:
        for sock in sockets:
            sock.sendall(b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        for sock in sockets:
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    finally:
        for sock in sockets:
            sock.close()
    assert idp.fetches == idp.answered == 150


def test_stopping_ends_requests_that_hang() -> None:
    with LoopbackIssuer() as idp:
        idp.hang()
        host, _, port = idp.origin.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as sock:
            sock.sendall(b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n")
            while not idp.fetches:
                time.sleep(0.005)
            idp.close()
            assert sock.recv(1) == b""


def test_the_process_dies_with_its_parent() -> None:
    code = (
        "import os, sys\n"
        "from skeldir_jwt_mw.testing import IssuerProcess\n"
        "idp = IssuerProcess().__enter__()\n"
        "print(idp._child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and _runs(child):
            time.sleep(0.02)
        assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_development_issuer_prints_its_urls_and_stops_at_ctrl_c() -> None:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    # What runs in the background of a shell ignores Ctrl-C, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "skeldir_jwt_mw.testing.issuer", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(6)]
        jwks_url = lines[2].split()[1]
        assert get(jwks_url)[0] == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")


def test_mint_signs_whatever_it_is_given() -> None:
    key = SigningKey.generate("EdDSA", kid="k")
    token = mint(key, {"iss": 7}, {"alg": "none", "crit": []})
    header, payload = (decoded(segment) for segment in token.split(".")[:2])
    assert (header, payload) == ({"alg": "none", "crit": []}, {"iss": 7})
    with pytest.raises(ValueError, match="HS256"):
        SigningKey.generate("HS256")
