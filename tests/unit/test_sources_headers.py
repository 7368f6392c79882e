"""Headers that the operator gives: fixed, or asked for at every fetch; and whom they are sent to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from raw_server import RawServer

from skeldir_jwt_mw.errors import ConfigurationError
from skeldir_jwt_mw.sources import (
    CallableSource,
    Conditional,
    DiscoverySource,
    FetchFailed,
    JWKSUrlSource,
    LocalFetchFailed,
    StaticSource,
)
from skeldir_jwt_mw.sources.transport import Transport
from skeldir_jwt_mw.testing import LoopbackIssuer, SigningKey

LONG = 60.0  # seconds that no test waits
OPTIONS: dict[str, Any] = {"timeout": 5.0, "allow_http": True, "allow_private_hosts": True}


@pytest.fixture
def idp() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as running:
        yield running


@pytest.fixture
def other() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as running:
        yield running


class Rotating:
    """A bearer token that is another one every time."""

    def __init__(self) -> None:
        self.asked: list[threading.Thread] = []

    def __call__(self) -> Mapping[str, str]:
        self.asked.append(threading.current_thread())
        return {"Authorization": f"Bearer {len(self.asked)}"}


def sent(idp: LoopbackIssuer) -> list[str | None]:
    return [request.headers.get("authorization") for request in idp.requests]


def test_a_function_for_headers_is_asked_for_every_fetch_in_a_thread_of_its_own(idp: LoopbackIssuer) -> None:
    headers = Rotating()
    source = JWKSUrlSource(idp.jwks_url, headers=headers, **OPTIONS)
    assert headers.asked == []  # not at construction
    for _ in range(3):
        source.fetch(Conditional())
    assert sent(idp) == ["Bearer 1", "Bearer 2", "Bearer 3"]
    assert threading.current_thread() not in headers.asked
    assert not any(thread.is_alive() for thread in headers.asked)


def test_discovery_asks_once_a_fetch_for_the_headers_of_metadata_and_keys(idp: LoopbackIssuer) -> None:
    headers = Rotating()
    source = DiscoverySource(idp.issuer, headers=headers, **OPTIONS)
    for _ in range(2):
        source.fetch(Conditional())
    assert sent(idp) == ["Bearer 1", "Bearer 1", "Bearer 2"]


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer 1"}, Rotating()], ids=["fixed", "asked for"])
def test_headers_go_to_another_host_of_the_metadata_only_when_told_to(
    idp: LoopbackIssuer, other: LoopbackIssuer, headers: Any
) -> None:
    idp.describe("openid-configuration", {"jwks_uri": other.jwks_url})
    for named in ((), ("https://keys.example.com",), (other.origin.replace("127.0.0.1", "localhost"),)):
        DiscoverySource(idp.issuer, headers=headers, headers_to=named, **OPTIONS).fetch(Conditional())
    assert sent(other) == [None] * 3
    other.reset()
    for named in ((other.origin,), [other.origin + "/"], {"https://a.example", other.origin}):
        DiscoverySource(idp.issuer, headers=headers, headers_to=named, **OPTIONS).fetch(Conditional())
    assert all(value is not None and value.startswith("Bearer ") for value in sent(other))
    assert len(sent(other)) == 3


def test_no_function_is_asked_for_headers_that_are_not_sent(
    idp: LoopbackIssuer, other: LoopbackIssuer
) -> None:
    headers = Rotating()
    idp.describe("openid-configuration", {"jwks_uri": other.jwks_url})
    source = DiscoverySource(idp.issuer, headers=headers, **OPTIONS)
    for _ in range(3):
        source.fetch(Conditional())
    assert len(headers.asked) == 1  # for the metadata
    assert sent(other) == [None] * 3


def raises(error: BaseException) -> Callable[[], Mapping[str, str]]:
    def headers() -> Mapping[str, str]:
        raise error

    return headers


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (raises(FileNotFoundError("/secret")), "the function for headers raised FileNotFoundError"),
        (raises(SystemExit(1)), "the function for headers raised SystemExit"),
        (raises(RuntimeError("can't start new thread")), "the function for headers raised RuntimeError"),
        (raises(ConfigurationError("secret")), "the function for headers raised ConfigurationError"),
        (raises(LocalFetchFailed("no token yet")), "no token yet"),
        (lambda: {"Authorization": "secret\n"}, "headers ('Authorization') must have a value of printable"),
        (lambda: {"Host": "secret"}, "headers ('Host') is set by the fetch itself"),
        (lambda: {"a b": "secret"}, "headers must have names"),
        (lambda: {"A": b"secret"}, "headers ('A') must have a value of printable"),
        (lambda: "secret", "headers must be a mapping of names to values"),
        (lambda: None, "not NoneType"),
    ],
)
def test_headers_that_a_function_does_not_give_are_this_processs_trouble(
    idp: LoopbackIssuer, headers: Any, reason: str
) -> None:
    for source in (
        JWKSUrlSource(idp.jwks_url, headers=headers, **OPTIONS),
        DiscoverySource(idp.issuer, headers=headers, **OPTIONS),
    ):
        with pytest.raises(LocalFetchFailed) as failure:
            source.fetch(Conditional())
        assert reason in failure.value.reason
        assert "secret" not in f"{failure.value!r}"
    assert idp.requests == []


def test_a_function_for_headers_that_hangs_ends_with_the_fetch_and_leaves_one_thread(
    idp: LoopbackIssuer,
) -> None:
    let_go, asked = threading.Event(), []

    def headers() -> Mapping[str, str]:
        asked.append(threading.current_thread())
        assert let_go.wait(LONG)
        return {}

    source = JWKSUrlSource(idp.jwks_url, headers=headers, **{**OPTIONS, "timeout": 0.1})
    told: list[str] = []
    while not told or "previous" not in told[-1]:
        with pytest.raises(LocalFetchFailed) as failure:
            source.fetch(Conditional())
        told.append(failure.value.reason)
    assert set(told) == {
        "the function for headers did not answer in time",
        "the function for headers has not ended its previous call",
    }
    assert len(asked) == 1
    let_go.set()
    asked[0].join(LONG)
    assert JWKSUrlSource(idp.jwks_url, headers=headers, **OPTIONS).fetch(Conditional()).document is not None


async def coroutine() -> Mapping[str, str]:
    return {}


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        (coroutine, "headers must be an ordinary function, not a coroutine function"),
        (
            [("A", "b")],
            "headers must be a mapping of names to values, or a function that returns one, not list",
        ),
        ("A: b", "not str"),
        ({"Host": "x"}, "is set by the fetch itself"),
        ({"A": "b\r\nC: d"}, "printable ASCII"),
    ],
)
def test_headers_that_can_never_be_sent_are_refused_at_construction(headers: Any, text: str) -> None:
    for make in (JWKSUrlSource, DiscoverySource):
        with pytest.raises(ConfigurationError) as refused:
            make("https://login.example.com", headers=headers)
        assert text in str(refused.value)


@pytest.mark.parametrize(
    ("origins", "text"),
    [
        ("https://keys.example.com", "must be a sequence of origins, such as ('https://keys.example.com',)"),
        (("keys.example.com",), "must be an https URL"),
        (("http://keys.example.com",), "must be an https URL"),
        (("https://keys.example.com/jwks",), "must be an origin"),
        (("https://keys.example.com?secret=1",), "must be an origin"),
        (("https://user:secret@keys.example.com",), "must not hold a user name or password"),
        ((7,), "must be a string"),
        (("*",), "must be a URL of ASCII characters|must be an https URL"),
    ],
)
def test_headers_go_to_origins_that_are_named_in_full(origins: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^headers_to ") as refused:
        DiscoverySource("https://login.example.com", headers_to=origins)
    assert any(part in str(refused.value) for part in text.split("|"))
    assert "secret" not in str(refused.value)


# -- what is told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("oidc", "oauth", "told"),
    [
        (401, 404, "no metadata (status 401)"),
        (403, 404, "no metadata (status 403)"),
        (401, 503, "no metadata (status 401)"),
        (302, 404, "no metadata (status 302)"),
        (404, 401, "no metadata (status 401)"),
        (410, 403, "no metadata (status 403)"),
        (404, 503, "status 503"),
        (404, 404, "no metadata (status 404)"),
        (401, 403, "no metadata (status 401)"),
    ],
)
def test_of_two_answers_that_failed_the_first_that_says_more_than_absent_is_told(
    oidc: int, oauth: int, told: str
) -> None:
    def answer(status: int) -> bytes:
        return b"HTTP/1.1 %d X\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n" % status

    left = [answer(oidc), answer(oauth)]
    with RawServer(lambda connection, _: connection.sendall(left.pop(0))) as server:
        with pytest.raises(FetchFailed) as failure:
            DiscoverySource(f"http://127.0.0.1:{server.port}", **OPTIONS).fetch(Conditional())
        assert len(server.requests) == 2
    assert told in failure.value.reason
    assert failure.value.retry_after == (9.0 if oauth == 503 else None)


def test_trouble_of_this_process_at_the_second_place_is_told_as_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    get, asked = Transport.get, 0

    def out_of_files(self: Transport, *arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise LocalFetchFailed("no file")
        return get(self, *arguments)

    monkeypatch.setattr(Transport, "get", out_of_files)
    refusal = b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n"
    with (
        RawServer(lambda connection, _: connection.sendall(refusal)) as server,
        pytest.raises(LocalFetchFailed, match="no file"),
    ):
        DiscoverySource(f"http://127.0.0.1:{server.port}", **OPTIONS).fetch(Conditional())


def test_a_source_shows_where_it_fetches_and_no_secret() -> None:
    options: dict[str, Any] = {
        "headers": {"X-Key": "hidden-header"},
        "proxy": "http://user:hidden-password@proxy:3128",
    }
    url = "https://keys.example.com/jwks?code=hidden-query"
    shown = {
        repr(JWKSUrlSource(url, **options)): "JWKSUrlSource('https://keys.example.com/jwks?***')",
        repr(DiscoverySource("https://login.example.com/", **options)): (
            "DiscoverySource('https://login.example.com/')"
        ),
    }
    for text, expected in shown.items():
        assert text == expected
    others = [
        JWKSUrlSource(url, **options)._transport,
        CallableSource(lambda: "hidden", identity="vault"),
        StaticSource({"keys": [SigningKey.generate(kid="hidden").jwk()]}),
    ]
    for source in others:
        assert "hidden" not in repr(source)
