"""What the loopback identity provider publishes, how it misbehaves on demand, and what it saw."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Literal

from .issuer_http import Answer, answer_json

Mode = Literal["answer", "status", "close", "hang"]
MetadataKind = Literal["openid-configuration", "oauth-authorization-server"]

NO_ANSWER = Answer(status=None, headers={})


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """A request as it came in; `at` is `time.monotonic()`, comparable between processes of one machine."""

    method: str
    path: str
    headers: Mapping[str, str]  # lower-case names
    at: float


class IssuerSite:
    """The JWKS and the metadata documents of one issuer, with switches for failure and counters for evidence.

    Every method may be called from any thread. `slow`, `down` and `hang` act on these documents alone.
    """

    def __init__(self, *, origin: str, path: str) -> None:
        self.origin = origin
        self.issuer = origin + path
        self._jwks_path = f"{path}/.well-known/jwks.json"
        self.jwks_url = origin + self._jwks_path
        self._metadata_paths: dict[str, MetadataKind] = {
            f"{path}/.well-known/openid-configuration": "openid-configuration",
            f"/.well-known/oauth-authorization-server{path}": "oauth-authorization-server",
        }
        self._changed = threading.Condition()  # guards everything below; notified when the behaviour changes
        self._stopped = False
        self._mode: Mode = "answer"
        self._delay = 0.0  # seconds before an answer
        self._status = 503
        self._retry_after: str | None = None
        self._etag = True
        self._last_modified = False
        self._max_age: int | None = None
        self._metadata: dict[MetadataKind, Mapping[str, Any] | None] = {}  # what replaces ours; None: 404
        self._document = b'{"keys": []}'
        self._override: bytes | None = None  # served instead of the document
        self._document_at = time.time()
        self._log: list[SeenRequest] = []
        self._counts = dict.fromkeys(("fetches", "answered", "not_modified", "discovery_fetches"), 0)

    # Behaviour

    def slow(self, seconds: float) -> None:
        """Answer only after so many seconds, with the document as it was when the request came."""
        self._behave(delay=seconds)

    def down(self, status: int | None = 503, *, retry_after: str | int | None = None) -> None:
        """Answer with an error status; None closes connections without an answer."""
        self._behave(mode="close" if status is None else "status", status=status, retry_after=retry_after)

    def hang(self) -> None:
        """Take requests and do not answer them until `up`."""
        self._behave(mode="hang")

    def up(self) -> None:
        """Behave again; requests that hang are answered."""
        self._behave()

    def configure(
        self, *, etag: bool = True, last_modified: bool = False, max_age: int | None = None
    ) -> None:
        """Choose the caching headers of the JWKS; `max_age` in seconds."""
        with self._changed:
            self._etag, self._last_modified, self._max_age = etag, last_modified, max_age

    def serve(self, document: str | Mapping[str, Any] | None) -> None:
        """Serve this instead of the JWKS, text as it is; None goes back to the JWKS."""
        text = json.dumps(document) if isinstance(document, Mapping) else document
        with self._changed:
            self._override = None if text is None else text.encode()
            self._document_at = time.time()

    def describe(self, kind: MetadataKind, members: Mapping[str, Any] | None) -> None:
        """Replace members of one metadata document; None answers 404 for it."""
        with self._changed:
            self._metadata[kind] = members

    def _behave(
        self,
        *,
        mode: Mode = "answer",
        delay: float = 0.0,
        status: int | None = None,
        retry_after: str | int | None = None,
    ) -> None:
        with self._changed:
            self._mode, self._delay, self._status = mode, delay, status or 503
            self._retry_after = None if retry_after is None else str(retry_after)
            self._changed.notify_all()

    def _stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    # Evidence

    @property
    def fetches(self) -> int:
        """JWKS requests that have come in."""
        return self._count("fetches")

    @property
    def answered(self) -> int:
        """JWKS requests that have been answered whole, with 200 or 304."""
        return self._count("answered")

    @property
    def not_modified(self) -> int:
        """JWKS requests that have been answered with 304."""
        return self._count("not_modified")

    @property
    def discovery_fetches(self) -> int:
        """Metadata requests that have come in, of either kind."""
        return self._count("discovery_fetches")

    @property
    def requests(self) -> list[SeenRequest]:
        """Every JWKS and metadata request so far, oldest first."""
        with self._changed:
            return list(self._log)

    def reset(self) -> None:
        """Forget the requests seen so far."""
        with self._changed:
            self._log.clear()
            self._counts = dict.fromkeys(self._counts, 0)

    def state(self) -> dict[str, Any]:
        """Counters and requests as one JSON-ready dict."""
        with self._changed:
            seen = [
                [request.method, request.path, dict(request.headers), request.at] for request in self._log
            ]
            return {**self._counts, "requests": seen}

    def _count(self, name: str) -> int:
        with self._changed:
            return self._counts[name]

    # Answers

    def publishes(self, path: str) -> bool:
        """Is there a document at this path?"""
        return path == self._jwks_path or path in self._metadata_paths

    def publish(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """Answer a request for a document as the switches say; blocks while `slow` or `hang` say so."""
        kind = self._metadata_paths.get(path)
        with self._changed:
            self._counts["fetches" if kind is None else "discovery_fetches"] += 1
            self._log.append(
                SeenRequest(method=method, path=path, headers=dict(headers), at=time.monotonic())
            )
            answer = self._jwks(headers) if kind is None else self._describe(kind)
            self._changed.wait_for(lambda: self._stopped, self._delay)
            self._changed.wait_for(lambda: self._stopped or self._mode != "hang")
            if self._stopped or self._mode == "close":
                return NO_ANSWER
            if self._mode == "status":
                advice = {} if self._retry_after is None else {"Retry-After": self._retry_after}
                return Answer(status=self._status, headers=advice)
            return answer

    def count(self, path: str, answer: Answer, by: int) -> None:
        """Count an answer that is being written; `by` is -1 where that failed."""
        if path == self._jwks_path and answer.status in (200, 304):
            with self._changed:
                self._counts["answered"] += by
                self._counts["not_modified"] += by * (answer.status == 304)

    def _jwks(self, request: Mapping[str, str]) -> Answer:
        document = self._document if self._override is None else self._override
        etag = f'"{hashlib.sha256(document).hexdigest()[:32]}"'
        changed = formatdate(self._document_at, usegmt=True)
        headers = {"Content-Type": "application/jwk-set+json"}
        unmodified = False
        if self._etag:
            headers["ETag"] = etag
            unmodified = request.get("if-none-match") == etag
        if self._last_modified:
            headers["Last-Modified"] = changed
            unmodified |= "if-none-match" not in request and request.get("if-modified-since") == changed
        if self._max_age is not None:
            headers["Cache-Control"] = f"public, max-age={self._max_age}"
        if unmodified:
            return Answer(status=304, headers=headers)
        return Answer(status=200, headers=headers, body=document)

    def _describe(self, kind: MetadataKind) -> Answer:
        replaced = self._metadata.get(kind, {})
        if replaced is None:
            return answer_json({"error": "not_found"}, 404)
        return answer_json(
            {
                "issuer": self.issuer,
                "jwks_uri": self.jwks_url,
                "token_endpoint": f"{self.origin}/token",
                "response_types_supported": ["token"],
                **replaced,
            }
        )
