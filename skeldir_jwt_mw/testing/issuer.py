"""A loopback identity provider: a real HTTP server that mints tokens, rotates keys and fails on demand.

`python -m skeldir_jwt_mw.testing.issuer` runs it alone, for development: `POST /token` mints (JSON or form:
`sub`, `scope`, `aud`, `expires_in`), `POST /rotate` rotates. It signs for anybody who asks, hence on loopback
alone.
"""

from __future__ import annotations

import argparse
import json
import secrets
import ssl
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from .issuer_http import Answer, LoopbackServer, answer_json, parse_body
from .issuer_site import IssuerSite
from .tokens import SigningKey, mint

VERBS = frozenset(
    {
        "token",
        "stranger_token",
        "rotate",
        "retire",
        "kids",
        "slow",
        "down",
        "up",
        "hang",
        "serve",
        "describe",
        "configure",
        "state",
        "reset",
    }
)

STRANGER_AGE = 180  # seconds, more than any leeway


class LoopbackIssuer(IssuerSite):
    """An identity provider on 127.0.0.1, as a context manager. Every method may be called from any thread.

    `alg` is what keys are made for, `audience` whom tokens are for. `path` is put behind the issuer's host
    (`/tenant`), `ssl_context` makes it https, `control` is the secret under which a parent process rules it.
    """

    def __init__(
        self,
        *,
        alg: str = "ES256",
        audience: str = "orders-api",
        path: str = "",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        control: str | None = None,
    ) -> None:
        self._server = LoopbackServer(self, port, ssl_context)
        scheme = "http" if ssl_context is None else "https"
        super().__init__(origin=f"{scheme}://127.0.0.1:{self._server.port}", path=path)
        self.audience = audience
        self._alg = alg
        self._control_path = None if control is None else f"/_control/{control}"
        self._keys: dict[str, SigningKey] = {}  # every key there ever was; guarded by _changed
        self._published: list[str] = []  # kids in the JWKS, newest first; guarded by _changed
        self.rotate()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server; requests that hang end without an answer."""
        self._stop()
        self._server.stop()

    # Tokens

    def token(
        self,
        sub: str = "user-1",
        scopes: Sequence[str] = ("orders:read",),
        expires_in: float = 300,
        *,
        alg: str | None = None,
        kid: str | None = None,
        key: SigningKey | None = None,
        claims: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
        without: Sequence[str] = (),
        **more: Any,
    ) -> str:
        """Mint an access token (RFC 9068); `expires_in` in seconds, negative for an expired one.

        It is signed by `key`, else by the key that `kid` names (a retired one too), else by the newest
        published key of `alg`, which is made and published if there is none. A `kid` that no key has is only
        put into the header. `claims` and `more` add or replace claims, `header` header members; `without`
        leaves either out by name.
        """
        signer = key or self.key(alg=alg, kid=kid)
        now = int(time.time())
        payload: dict[str, Any] = {
            "iss": self.issuer,
            "sub": sub,
            "aud": self.audience,
            "iat": now,
            "exp": now + expires_in,
            "jti": secrets.token_hex(8),
            "client_id": "loopback-client",
            "scope": " ".join(scopes),
            **(claims or {}),
            **more,
        }
        head = {"alg": signer.alg, "typ": "at+jwt", "kid": kid or signer.kid, **(header or {})}
        for name in without:
            payload.pop(name, None)
            head.pop(name, None)
        return mint(signer, payload, head)

    def stranger_token(self, *, kid: str | None = None, alg: str | None = None, **options: Any) -> str:
        """A token right in everything but its key: a made-up `kid`, signed by a key that nobody publishes.

        It was issued a while ago, so that no key set is too old to refuse it; `iat` changes that.
        """
        stranger = SigningKey.generate(alg or self._alg, kid=kid or f"stranger-{secrets.token_hex(8)}")
        given = {**options.pop("claims", {})}
        issued = {} if "iat" in options else {"iat": int(time.time()) - STRANGER_AGE}
        return self.token(key=stranger, claims={**issued, **given}, **options)

    def headers(self, **options: Any) -> dict[str, str]:
        """Request headers with a new token; takes the options of `token`."""
        return {"Authorization": f"Bearer {self.token(**options)}"}

    # Keys

    def key(self, *, alg: str | None = None, kid: str | None = None) -> SigningKey:
        """The key that `token` signs with; see there."""
        wanted = alg or self._alg
        with self._changed:
            if kid in self._keys:
                return self._keys[kid]
            for published in map(self._keys.__getitem__, self._published):
                if published.alg == wanted:
                    return published
            return self._keys[self.rotate(alg=wanted)]

    @property
    def kids(self) -> tuple[str, ...]:
        """The published key ids, newest first."""
        with self._changed:
            return tuple(self._published)

    def rotate(self, keep_previous: bool = True, *, alg: str | None = None, kid: str | None = None) -> str:
        """Publish a new key, sign with it from now on, return its kid; False unpublishes all older keys."""
        key = SigningKey.generate(alg or self._alg, kid=kid)
        with self._changed:
            self._keys[key.kid] = key
            self._published = [key.kid, *(self._published if keep_previous else ())]
            self._republish()
        return key.kid

    def retire(self, kid: str) -> None:
        """Unpublish a key; `token(kid=…)` still signs with it. ValueError for one that is not published."""
        with self._changed:
            self._published.remove(kid)
            self._republish()

    def jwks(self) -> dict[str, Any]:
        """The JWKS of the published keys (RFC 7517 §5)."""
        with self._changed:
            return {"keys": [self._keys[kid].jwk() for kid in self._published]}

    def _republish(self) -> None:
        self._document = json.dumps(self.jwks()).encode()
        self._document_at = time.time()

    # Answers

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request; called by the server's threads."""
        if method == "GET" and self.publishes(path):
            return self.publish(method, path, headers)
        if method == "GET" and path == "/fetches":
            return answer_json({"fetches": self.fetches})
        if method == "POST" and path in ("/token", "/rotate", self._control_path):
            try:
                return answer_json(self._act(path, parse_body(headers, body)))
            except (ValueError, TypeError) as error:
                return answer_json({"error": "invalid_request", "error_description": str(error)}, 400)
        return answer_json({"error": "not_found"}, 404)

    def _act(self, path: str, wishes: dict[str, Any]) -> dict[str, Any]:
        if path == "/rotate":
            return {"kid": self.rotate(alg=wishes.get("alg")), "kids": self.kids}
        if path == self._control_path:
            verb = wishes["verb"]
            if verb not in VERBS:
                raise ValueError(f"no such verb: {verb!r}")
            attribute = getattr(self, verb)
            return {"result": attribute(**wishes.get("arguments", {})) if callable(attribute) else attribute}
        expires_in = float(wishes.pop("expires_in", 300))
        scopes = str(wishes.pop("scope", "orders:read")).split()
        token = self.token(expires_in=expires_in, scopes=scopes, **wishes)
        return {"access_token": token, "token_type": "Bearer", "expires_in": expires_in}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the provider until Ctrl-C; with `--controlled`, until stdin ends."""
    parser = argparse.ArgumentParser(
        prog="python -m skeldir_jwt_mw.testing.issuer",
        description="A loopback identity provider for development. It signs whatever it is asked to sign.",
    )
    parser.add_argument("--port", type=int, default=8800, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--path", default="", help="path behind the host in the issuer, such as /tenant")
    parser.add_argument("--alg", default="ES256", help="algorithm of the keys (default: %(default)s)")
    parser.add_argument(
        "--audience", default="orders-api", help="audience of the tokens (default: %(default)s)"
    )
    parser.add_argument("--controlled", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    control = secrets.token_hex(16) if options.controlled else None
    with LoopbackIssuer(
        alg=options.alg, audience=options.audience, path=options.path, port=options.port, control=control
    ) as idp:
        if control is not None:
            urls = [idp.origin, idp.issuer, idp.jwks_url, idp.audience, f"{idp.origin}/_control/{control}"]
            sys.stdout.write(json.dumps(urls) + "\n")
            sys.stdout.flush()
            sys.stdin.read()  # the parent's end of the pipe closes when it dies, however it dies
            return
        try:
            sys.stdout.write(
                f"issuer     {idp.issuer}\n"
                f"audience   {idp.audience}\n"
                f"jwks       {idp.jwks_url}\n"
                f"a token    curl -s {idp.origin}/token -d sub=user-1 -d scope=orders:read\n"
                f"rotation   curl -s -X POST {idp.origin}/rotate\n"
                "Ctrl-C stops it.\n"
            )
            sys.stdout.flush()
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
