"""The loopback identity provider in a process of its own, for parents that keep their interpreter busy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from .issuer_site import MetadataKind, SeenRequest

CONTROL_TIMEOUT = 30.0  # seconds; a saturated machine is slow to answer
STOP_TIMEOUT = 5.0  # seconds


class IssuerProcess:
    """`LoopbackIssuer` by remote control: the same verbs and counters, served by a child process.

    The child ends with the context, and also when this process dies. Raises ValueError where a verb refuses
    its arguments and RuntimeError when the child did not start.
    """

    def __init__(
        self, *, alg: str = "ES256", audience: str = "orders-api", path: str = "", port: int = 0
    ) -> None:
        self._command = [sys.executable, "-m", "skeldir_jwt_mw.testing.issuer", "--controlled"]
        self._command += ["--alg", alg, "--audience", audience, "--path", path, "--port", str(port)]
        self.origin = self.issuer = self.jwks_url = self._control_url = ""
        self.audience = audience

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        )
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError("the loopback issuer did not start")
        self.origin, self.issuer, self.jwks_url, self.audience, self._control_url = json.loads(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        try:
            self._child.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()

    def _call(self, verb: str, **arguments: Any) -> Any:
        target = urlsplit(self._control_url)
        connection = HTTPConnection(target.hostname or "", target.port, timeout=CONTROL_TIMEOUT)
        try:
            body = json.dumps({"verb": verb, "arguments": arguments})
            connection.request("POST", target.path, body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "result" not in answer:
            raise ValueError(answer["error_description"])
        return answer["result"]

    def token(self, sub: str = "user-1", **options: Any) -> str:
        """See `LoopbackIssuer.token`; `key` stays with the in-process issuer."""
        return str(self._call("token", sub=sub, **options))

    def stranger_token(self, **options: Any) -> str:
        """See `LoopbackIssuer.stranger_token`."""
        return str(self._call("stranger_token", **options))

    def headers(self, **options: Any) -> dict[str, str]:
        """See `LoopbackIssuer.headers`."""
        return {"Authorization": f"Bearer {self.token(**options)}"}

    def rotate(self, keep_previous: bool = True, **options: Any) -> str:
        """See `LoopbackIssuer.rotate`."""
        return str(self._call("rotate", keep_previous=keep_previous, **options))

    def retire(self, kid: str) -> None:
        """See `LoopbackIssuer.retire`."""
        self._call("retire", kid=kid)

    def slow(self, seconds: float) -> None:
        """See `IssuerSite.slow`."""
        self._call("slow", seconds=seconds)

    def down(self, status: int | None = 503, *, retry_after: str | int | None = None) -> None:
        """See `IssuerSite.down`."""
        self._call("down", status=status, retry_after=retry_after)

    def hang(self) -> None:
        """See `IssuerSite.hang`."""
        self._call("hang")

    def up(self) -> None:
        """See `IssuerSite.up`."""
        self._call("up")

    def configure(self, **options: Any) -> None:
        """See `IssuerSite.configure`."""
        self._call("configure", **options)

    def serve(self, document: str | Mapping[str, Any] | None) -> None:
        """See `IssuerSite.serve`."""
        self._call("serve", document=document)

    def describe(self, kind: MetadataKind, members: Mapping[str, Any] | None) -> None:
        """See `IssuerSite.describe`."""
        self._call("describe", kind=kind, members=members)

    def reset(self) -> None:
        """See `IssuerSite.reset`."""
        self._call("reset")

    @property
    def kids(self) -> tuple[str, ...]:
        """See `LoopbackIssuer.kids`."""
        return tuple(self._call("kids"))

    @property
    def fetches(self) -> int:
        """See `IssuerSite.fetches`."""
        return int(self._call("state")["fetches"])

    @property
    def answered(self) -> int:
        """See `IssuerSite.answered`."""
        return int(self._call("state")["answered"])

    @property
    def not_modified(self) -> int:
        """See `IssuerSite.not_modified`."""
        return int(self._call("state")["not_modified"])

    @property
    def discovery_fetches(self) -> int:
        """See `IssuerSite.discovery_fetches`."""
        return int(self._call("state")["discovery_fetches"])

    @property
    def requests(self) -> list[SeenRequest]:
        """See `IssuerSite.requests`."""
        return [
            SeenRequest(method=method, path=path, headers=headers, at=at)
            for method, path, headers, at in self._call("state")["requests"]
        ]
