"""Issuers with a hole: `https://login.example.com/{tid}/v2.0` stands for one issuer per tenant.

The template only ever *compares*: an `iss` is right when it equals the template filled with the token's own
claim. It never forms a URL, so nothing that a token holds decides where keys come from (R14, R24, R30).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# A fill can neither end its path segment nor look like another: no "/", ".", "%", no look-alikes.
_FILL = r"[A-Za-z0-9-]{1,64}"
_IS_FILL = re.compile(_FILL + r"\Z")

_TEMPLATE = re.compile(
    r"(?P<prefix>[A-Za-z][A-Za-z0-9+.-]*://[^/{}?#]+/(?:[^/{}?#]*/)*)"
    r"\{(?P<claim>[A-Za-z0-9_.-]+)\}"
    r"(?P<suffix>(?:/[^{}?#]*)?)\Z"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerTemplate:
    """An issuer of the form prefix + {claim} + suffix, where the hole is one whole path segment."""

    prefix: str  # up to and including the "/" in front of the hole
    claim: str  # the claim that fills the hole
    suffix: str  # empty, or from the "/" behind the hole on

    @classmethod
    def parse(cls, issuer: str) -> IssuerTemplate | None:
        """The template that `issuer` is, or None where it is a plain string; raises ValueError in between."""
        if "{" not in issuer and "}" not in issuer:
            return None
        match = _TEMPLATE.match(issuer)
        if match is None:
            raise ValueError("must hold one {claim}, as a whole path segment behind a host name")
        return cls(prefix=match["prefix"], claim=match["claim"], suffix=match["suffix"])

    @property
    def shape(self) -> str:
        """The template without the claim's name: two templates of one shape stand for the same issuers."""
        return f"{self.prefix}{{}}{self.suffix}"

    def fill(self, claims: Mapping[str, Any]) -> str | None:
        """The issuer that a token with these claims must name, or None where they cannot fill the hole."""
        value = claims.get(self.claim)
        if type(value) is not str or _IS_FILL.match(value) is None:
            return None
        return self.prefix + value + self.suffix

    def matches(self, iss: object, claims: Mapping[str, Any]) -> bool:
        """Whether `iss` equals the template filled with the token's own claim (R30)."""
        return type(iss) is str and iss == self.fill(claims)

    def resembles(self, iss: str) -> bool:
        """Whether `iss` has the template's shape, whatever the fill: good to route by, never to accept by."""
        end = len(iss) - len(self.suffix)
        return (
            iss.startswith(self.prefix)
            and iss.endswith(self.suffix)
            and _IS_FILL.match(iss[len(self.prefix) : end]) is not None
        )


def compile_key_issuer(key_issuer: str) -> IssuerTemplate | str:
    """What a JWK's `issuer` member stands for: a plain issuer, or a template to fill from the token.

    Entra writes `{tenantid}` for the claim `tid`. Other braces stay what they are: a string
    that no sane `iss` equals.
    """
    try:
        template = IssuerTemplate.parse(key_issuer.replace("{tenantid}", "{tid}"))
    except ValueError:
        return key_issuer
    return key_issuer if template is None else template


def serves_issuer(key_issuer: IssuerTemplate | str | None, iss: str, claims: Mapping[str, Any]) -> bool:
    """Whether a JWK with this `issuer` member (None: it has none) may verify a token of `iss`."""
    if key_issuer is None:
        return True
    if type(key_issuer) is str:
        return key_issuer == iss
    assert isinstance(key_issuer, IssuerTemplate)
    return key_issuer.matches(iss, claims)


class IssuerRoutes:
    """Which configured issuer a token's `iss` belongs to, decided before any key is looked up (R24, R30)."""

    __slots__ = ("_exact", "_near", "_templates")

    def __init__(self, issuers: tuple[str, ...]) -> None:
        """`issuers` are the configured strings; a position in it is what `position` answers with."""
        self._exact: dict[str, int] = {}
        self._near: dict[str, int] = {}
        self._templates: list[tuple[IssuerTemplate, int]] = []
        for position, issuer in enumerate(issuers):
            template = IssuerTemplate.parse(issuer)
            if template is None:
                self._exact[issuer] = position
                self._near.setdefault(_loosely(issuer), position)
            else:
                self._templates.append((template, position))

    def position(self, claims: Mapping[str, Any]) -> int | None:
        """The issuer that the claims' `iss` belongs to, or None; an exact issuer goes before a template."""
        iss = claims.get("iss")
        if type(iss) is not str:
            return None
        found = self._exact.get(iss)
        if found is not None:
            return found
        for template, position in self._templates:
            if template.resembles(iss):
                return position
        return None

    def nearest(self, claims: Mapping[str, Any]) -> int | None:
        """The issuer that the hint for a token of nobody's is about; one look-up, however many there are."""
        iss = claims.get("iss")
        if type(iss) is not str:
            return 0
        found = self._near.get(_loosely(iss))
        if found is None and self._templates:
            found = self._templates[0][1]
        return found


def _loosely(issuer: str) -> str:
    """What issuers have in common of which `issuer_hint` has something to say."""
    return (issuer.partition("://")[2] or issuer).rstrip("/").casefold()


def issuer_hint(iss: object, configured: Iterable[str]) -> str | None:
    """A fixed text on what may be overlooked where `iss` is not a configured issuer, or None."""
    if type(iss) is not str:
        return "the token has no iss that is a string"
    for issuer in configured:
        if iss.rstrip("/") == issuer.rstrip("/"):
            return "iss differs by a trailing slash"
        if iss.partition("://")[2] == issuer.partition("://")[2] != "":
            return "iss differs by http and https"
        if iss.casefold() == issuer.casefold():
            return "iss differs in upper and lower case"
    return None
