"""A session over any driver that can run one statement: what is asked, in parameters, and what came back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from types import NoneType
from typing import Any, Protocol, get_args

from skeldir_jwt_mw.core.effects import (
    Claim,
    Fail,
    Outcome,
    Peeked,
    Publish,
    Read,
    Release,
    Row,
    StoreContended,
    StoreUnavailable,
    Verdict,
)
from skeldir_jwt_mw.core.row import plain
from skeldir_jwt_mw.errors import ConfigurationError

from .sqlstate import NOT_ADMITTED, SEARCH_PATH, UNSEEN
from .statements import STATEMENTS

Parameters = Mapping[str, Any]


class Connection(Protocol):
    """Runs one autocommit statement at a time, within its own deadline.

    Raises what `sqlstate` makes of errors and nothing else. `creating` marks the statement that makes a row.
    """

    def run(self, statement: str, parameters: Parameters, *, creating: bool = False) -> dict[str, Any] | None:
        """The first row of the result by column, or None."""
        ...

    def patience(self) -> float:
        """Seconds that the next statement has; connects first, where there is no connection yet."""
        ...

    def close(self) -> None:
        """Close at once; never raises, may be called twice."""
        ...


class StatementSession:
    """The statements over a connection. One thread uses it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(self, source_key: str, claim: Claim) -> Row:
        """Read the row and take the lease when that is allowed; a missing row is created first."""
        parameters = {
            **_judging(source_key, claim),
            "owner": str(claim.owner),
            "lease": float(claim.lease),
            "reason": claim.reason,
            "use_gate": claim.use_gate,
            "advisory_key": advisory_key(source_key),
        }
        values = self._claim(parameters)
        if values is None:
            self.create(source_key)
            values = self._claim(parameters)
        if values is None:
            raise StoreContended(UNSEEN)
        if values.pop("guarded") and values["verdict"] == "contended" and not claim.use_gate:
            raise StoreContended(NOT_ADMITTED)
        return row_of(values)

    def read(self, source_key: str, read: Read) -> Row | None:
        """The row as it is, or None where there is none."""
        values = self._run("read", _judging(source_key, read))
        return None if values is None else row_of({"verdict": None, "claimed_us": None, **values})

    def peek(self, source_key: str) -> Peeked:
        """Generation, and whether a fetch is running; a row that is gone has neither."""
        values = self._run("peek", {"key": source_key})
        return Peeked(generation=0, running=False) if values is None else Peeked(**values)

    def publish(self, source_key: str, publish: Publish) -> bool:
        """Write the content; False where the row is no longer ours."""
        content = publish.content
        parameters = {
            "key": source_key,
            "fence": content.generation,
            "owner": str(publish.owner),
            "payload": content.payload,
            "seal": publish.seal,
            "etag": content.etag,
            "last_modified": content.last_modified,
            "fetched_us": content.fetched_us,
            "next_us": publish.next_us,
            "expires_us": content.expires_us,
        }
        if publish.coordinated:
            return self._run("publish", parameters) is not None
        return self._run("publish_uncoordinated", parameters) is not None

    def fail(self, source_key: str, fail: Fail) -> float | None:
        """Record a failed fetch; returns the seconds of backoff, or None where the row is no longer ours."""
        parameters = {
            "key": source_key,
            "fence": fail.fence,
            "owner": str(fail.owner),
            "error": plain(fail.error),
            "retry_after": float(fail.retry_after),
            "backoff_base": float(fail.backoff_base),
            "backoff_max": float(fail.backoff_max),
            "jitter": float(fail.jitter),
        }
        values = self._run("fail", parameters)
        return None if values is None else float(values["backoff_left"])

    def release(self, source_key: str, release: Release) -> bool:
        """Give the lease back, at no cost to the fleet; False where the row is no longer ours."""
        parameters = {"key": source_key, "fence": release.fence, "owner": str(release.owner)}
        return self._run("release", parameters) is not None

    def create(self, source_key: str) -> bool:
        """Make the row where there is none; whether it was made."""
        return self._run("create", {"key": source_key}, creating=True) is not None

    def close(self) -> None:
        """Give the connection back; never raises, may be called twice."""
        self._connection.close()

    def _claim(self, parameters: Parameters) -> dict[str, Any] | None:
        return self._run("claim", {**parameters, "patience": self._connection.patience()})

    def _run(self, name: str, parameters: Parameters, *, creating: bool = False) -> dict[str, Any] | None:
        return self._connection.run(STATEMENTS[name], parameters, creating=creating)


# What comes before pg_catalog in a search_path can redefine every operator; pg_temp holds none.
_BUILT_IN_FIRST = re.compile(r"(?:pg_(?:toast_)?temp_\d+ )*pg_catalog(?: |\Z)")
_TEXT, _NUMBER, _BYTES = (str, NoneType), (int, NoneType), (bytes, NoneType)
_KINDS: Mapping[str, tuple[type, ...] | frozenset[object]] = {
    "schemas": (str,),
    "verdict": frozenset({None, *get_args(Verdict)}),
    "outcome": frozenset(get_args(Outcome)),
    **dict.fromkeys(("fence", "generation", "failures"), (int,)),
    **dict.fromkeys(("claimed_us", "now_us", "fetched_us", "expires_us"), _NUMBER),
    **dict.fromkeys(("lease_left", "floor_left", "backoff_left", "refresh_left"), (int, float)),
    **dict.fromkeys(("last_error", "last_refresh_reason", "etag", "last_modified"), _TEXT),
    **dict.fromkeys(("payload", "seal"), _BYTES),
}


def advisory_key(source_key: str) -> int:
    """The number of the source's advisory lock: the same in every process, signed 64 bits."""
    digest = hashlib.sha256(b"skeldir_jwt_mw advisory lock\0" + source_key.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _judging(source_key: str, asked: Claim | Read) -> dict[str, Any]:
    """The parameters by which a row is judged."""
    return {
        "key": source_key,
        "force": asked.force,
        "need": asked.need,
        "have": asked.have,
        "bad": asked.bad,
        "floor": float(asked.floor),
        "refresh": float(asked.refresh),
    }


def row_of(values: dict[str, Any]) -> Row:
    """A row from the columns of an answer.

    Raises `ConfigurationError` where other schemas than PostgreSQL's own may have chosen what the statement
    means, and `StoreUnavailable` where the answer is none that a statement of ours can give.
    """
    for name in ("payload", "seal"):
        if values[name] is not None:
            values[name] = bytes(values[name])  # a driver may give a memoryview
    for name, kinds in _KINDS.items():
        value = values[name]
        if value not in kinds if isinstance(kinds, frozenset) else not isinstance(value, kinds):
            raise StoreUnavailable(
                f"the database answered {name} = {ascii(value)[:60]}, which no worker reads"
            )
    if not _BUILT_IN_FIRST.match(values.pop("schemas")):
        raise ConfigurationError(SEARCH_PATH)
    return Row(**values)
