"""The refresh script on a stage: every effect is answered by the test, time is an argument."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from skeldir_jwt_mw.config import RefreshPolicy
from skeldir_jwt_mw.core.effects import Content, Report, Row, Wait
from skeldir_jwt_mw.core.keys import import_jwks
from skeldir_jwt_mw.core.order import Adopted, Effect, Ending, Order, Reply, Settle, Use
from skeldir_jwt_mw.core.refresh import Refresh
from skeldir_jwt_mw.core.schedule import Schedule
from skeldir_jwt_mw.core.seal import Sealer
from skeldir_jwt_mw.testing.tokens import SigningKey

POLICY = RefreshPolicy()
SEALER = Sealer([b"k" * 32])
DOCUMENT = json.dumps({"keys": [SigningKey.generate(kid="new").jwk()]}).encode()
OLD_DOCUMENT = json.dumps({"keys": [SigningKey.generate(kid="old").jwk()]}).encode()
NOW_US = 1_800_000_000_000_000


def content(generation: int = 5, document: bytes = OLD_DOCUMENT, **members: Any) -> Content:
    fields: dict[str, Any] = {
        "generation": generation,
        "fetched_us": NOW_US - 10_000_000,
        "expires_us": NOW_US + 1000_000_000,
        "etag": '"old"',
        "last_modified": None,
        "payload": document,
    }
    return Content(**(fields | members))


def trusted(**members: Any) -> Adopted:
    return Adopted(
        content=content(**members),
        jwks=import_jwks(OLD_DOCUMENT),
        fetched_at=-10.0,
        refresh_at=290.0,
        expires_at=1000.0,
    )


def order(**changes: Any) -> Order:
    fields: dict[str, Any] = {
        "owner": UUID(int=1),
        "reason": "scheduled",
        "force": False,
        "need": False,
        "aged": False,
        "trusted": trusted(),
        "have": 5,
        "bad": -1,
        "unreadable": False,
        "failures": 0,
        "replace_stranger": True,
        "coordinated": True,
    }
    return Order(**(fields | changes))


def row(
    verdict: str | None, published: Content | None = None, seal: bytes | None = None, **members: Any
) -> Row:
    fields: dict[str, Any] = {
        "verdict": verdict,
        "fence": 9,
        "claimed_us": NOW_US,
        "generation": 5,
        "outcome": "ok",
        "last_error": None,
        "last_refresh_reason": None,
        "lease_left": 0.0,
        "floor_left": 0.0,
        "backoff_left": 0.0,
        "refresh_left": 100.0,
        "now_us": NOW_US,
        "fetched_us": None,
        "expires_us": None,
        "payload": None,
        "seal": None,
        "etag": None,
        "last_modified": None,
    }
    if published is not None:
        fields |= {
            "generation": published.generation,
            "fetched_us": published.fetched_us,
            "expires_us": published.expires_us,
            "payload": published.payload,
            "etag": published.etag,
            "last_modified": published.last_modified,
            "seal": SEALER.seal("source", published) if seal is None else seal,
        }
    return Row(**(fields | members))


class Stage:
    """Answers effects from a list, keeps them, and lets time pass by `lag` with each and with every wait."""

    def __init__(self, *answers: object, policy: RefreshPolicy = POLICY, lag: float = 0.01) -> None:
        self.answers = list(answers)
        self.effects: list[Effect] = []
        self.reports: list[Report] = []
        self.settled: list[Ending] = []
        self.used: list[Use] = []
        self.now = 0.0
        self.lag = lag
        self.script = Refresh(
            source_key="source",
            policy=policy,
            sealer=SEALER,
            schedule=Schedule(policy=policy, draw=lambda: 0.5),
        )

    def play_endlessly(self, ordered: Order) -> Ending:
        """Play without minding answers that are left over."""
        script = self.script.run(ordered)
        effect = next(script)
        while True:
            value: object = None
            sent = self.now
            match effect:
                case Report():
                    self.reports.append(effect)
                case Settle():
                    self.settled.append(effect.ending)
                case Use():
                    self.used.append(effect)
                case Wait():
                    self.effects.append(effect)
                    self.now += effect.seconds
                case _:
                    self.effects.append(effect)
                    self.now += self.lag
                    value = self.answers.pop(0)
            try:
                effect = script.send(Reply(value=value, sent=sent, received=self.now))
            except StopIteration as stop:
                ending: Ending = stop.value
                return ending

    def play(self, ordered: Order) -> Ending:
        ending = self.play_endlessly(ordered)
        assert not self.answers, f"not asked for: {self.answers}"
        return ending

    def only(self, kind: type[Any]) -> Any:
        found = [effect for effect in self.effects if isinstance(effect, kind)]
        assert len(found) == 1
        return found[0]

    def kinds(self) -> Sequence[str]:
        return [type(effect).__name__ for effect in self.effects if not isinstance(effect, Wait)]
