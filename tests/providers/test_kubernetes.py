"""The recipe for Kubernetes, against an API server that wants a token which it replaces now and then."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from internet import Authority
from recipes import KUBERNETES, blocks

from skeldir_jwt_mw import InvalidToken, Issuer, Verifier
from skeldir_jwt_mw.sources import Conditional, DiscoverySource, FetchFailed, JWKSUrlSource, LocalFetchFailed
from skeldir_jwt_mw.sources.guard import Address
from skeldir_jwt_mw.testing import SigningKey, mint
from skeldir_jwt_mw.testing.issuer_http import Answer, LoopbackServer, answer_json

HOST = "kubernetes.default.svc"
ISSUER = "https://kubernetes.default.svc.cluster.local"
ADDRESS = "localhost"  # what the metadata calls the server
PATH = "/openid/v1/jwks"


class ApiServer:
    """Shows its keys to whoever has the token of the hour."""

    def __init__(self, authority: Authority) -> None:
        self.key = SigningKey.generate("RS256", kid="cluster")
        self.token = "first"
        self.asked: list[tuple[str, str | None]] = []
        self.server = LoopbackServer(self, 0, authority.context())

    @property
    def port(self) -> int:
        return self.server.port

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.asked.append((headers["host"].partition(":")[0] + path, headers.get("authorization")))
        if headers.get("authorization") != f"Bearer {self.token}":
            return answer_json({"kind": "Status", "code": 401}, 401)
        if path == PATH:
            return answer_json({"keys": [self.key.jwk()]}, 200)
        if path == "/.well-known/openid-configuration":
            jwks_uri = f"https://{ADDRESS}:{self.port}{PATH}"
            return answer_json({"issuer": f"https://{HOST}:{self.port}", "jwks_uri": jwks_uri}, 200)
        return answer_json({"kind": "Status", "code": 404}, 404)

    def count(self, path: str, answer: Answer, by: int) -> None:
        """Nothing is counted here."""

    def resolve(self, host: str, _: int) -> list[Address]:
        return [Address(ip_address("127.0.0.1"), socket.AF_INET, ("127.0.0.1", self.port))]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("cluster"), [HOST, ADDRESS])


@pytest.fixture
def api(cluster: Authority) -> Iterator[ApiServer]:
    running = ApiServer(cluster)
    running.server.start()
    yield running
    running.server.stop()


@pytest.fixture
def mounted(tmp_path: Path, cluster: Authority) -> Path:
    shutil.copy(cluster.ca_file, tmp_path / "ca.crt")
    (tmp_path / "token").write_text("first\n")
    return tmp_path


def recipe(mounted: Path, api: ApiServer) -> tuple[Issuer, Callable[[], Mapping[str, str]]]:
    """The page's issuer, with the files in another folder and the server here; and its function."""
    ((language, code),) = blocks(KUBERNETES)
    assert language == "python"
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert folder in code
    scene: dict[str, Any] = {}
    exec(code.replace(folder, str(mounted)), scene)
    issuer: Issuer = scene["kubernetes"]
    assert isinstance(issuer.source, JWKSUrlSource)
    issuer.source._resolve_with(api.resolve)
    return issuer, scene["credentials"]


def test_a_service_accounts_token_is_accepted_with_keys_that_the_pods_own_token_opens(
    api: ApiServer, mounted: Path
) -> None:
    issuer, _ = recipe(mounted, api)
    claims = {
        "iss": ISSUER,
        "sub": "system:serviceaccount:shop:web",
        "iat": time.time(),
        "exp": time.time() + 600,
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "web", "uid": "1"}},
    }
    verifier = Verifier([issuer])
    token = mint(api.key, {**claims, "aud": ["orders-api"]})
    assert verifier.verify(token).subject == "system:serviceaccount:shop:web"
    for wrong in ({"aud": ["https://kubernetes.default.svc"]}, {"kubernetes.io": {"namespace": "else"}}):
        with pytest.raises(InvalidToken):
            verifier.verify(mint(api.key, {**claims, "aud": ["orders-api"], **wrong}))
    verifier.close()
    assert api.asked == [(f"{HOST}{PATH}", "Bearer first")]


def test_a_token_that_was_replaced_is_read_anew_and_one_that_is_gone_is_the_pods_trouble(
    api: ApiServer, mounted: Path
) -> None:
    source = recipe(mounted, api)[0].source
    assert source is not None
    source.fetch(Conditional())
    api.token = "second"
    with pytest.raises(FetchFailed, match="status 401") as refused:
        source.fetch(Conditional())
    assert not isinstance(refused.value, LocalFetchFailed)
    (mounted / "token").write_text("second\n")
    assert json.loads(source.fetch(Conditional()).document or b"")["keys"]
    (mounted / "token").unlink()
    with pytest.raises(LocalFetchFailed, match="raised FileNotFoundError"):
        source.fetch(Conditional())


def test_discovery_sends_the_token_to_the_servers_address_only_when_told_to(
    api: ApiServer, mounted: Path
) -> None:
    _, credentials = recipe(mounted, api)
    options: dict[str, Any] = {
        "ca_file": mounted / "ca.crt", "headers": credentials, "allow_private_hosts": True
    }  # fmt: skip
    for origins in ((), (f"https://{ADDRESS}:{api.port}",)):
        source = DiscoverySource(f"https://{HOST}:{api.port}", headers_to=origins, **options)
        source._resolve_with(api.resolve)
        if origins:
            assert source.fetch(Conditional()).document is not None
        else:
            with pytest.raises(FetchFailed, match="status 401"):
                source.fetch(Conditional())
    assert [given for place, given in api.asked if place == f"{ADDRESS}{PATH}"] == [None, "Bearer first"]
