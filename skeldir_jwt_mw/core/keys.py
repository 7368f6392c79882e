"""From a JWKS document to the keys that tokens are verified with (RFC 7517 §5).

One bad key never costs the set: every JWK is judged on its own, and a document is refused as a whole only if
it is not strict JSON or holds nothing to verify with. Which algorithm a JWK without `alg` is for is for the
issuer to say, never the token (R11), so one imported document makes a `KeySet` for each list of algorithms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from .jwk import PublicJWK, UnusableKey, has_private_members, import_jwk
from .signature import SUPPORTED_ALGORITHMS, Verify, bind, canonical_algorithm
from .strict_json import MalformedJSON, parse_object

MAX_DOCUMENT_BYTES = 262_144
MAX_KEYS = 64

TWIN = "two different keys with one kid and algorithm"


class UnusableDocument(ValueError):
    """A JWKS document without a key to verify with; the text is fixed and holds nothing of the document."""


class Miss(Enum):
    """Why a key set has no key for a token."""

    UNKNOWN = "unknown"  # nothing answers to the kid, or to the algorithm without one: newer keys might
    AMBIGUOUS = "ambiguous"  # no kid, and two or more keys of the algorithm
    MISMATCH = "mismatch"  # the document has the kid, but no usable key of it for the algorithm


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Key:
    """One key for one algorithm. `verify` is called with the signature and the signing input."""

    kid: str | None
    algorithm: str  # "EdDSA" also where the JWK says Ed25519
    issuer: str | None  # the JWK's `issuer` member: verifies only tokens whose `iss` matches (Entra)
    thumbprint: str  # RFC 7638, SHA-256
    verify: Verify


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeySet:
    """The keys of a document that one issuer's tokens may be verified with."""

    keys: tuple[Key, ...]
    rejected: tuple[tuple[int, str], ...]  # place in the document and reason, for the operator
    digest: bytes  # SHA-256 of the document
    _index: Mapping[tuple[str | None, str], Key | Miss]
    _known: frozenset[str]  # every kid in the document, usable or not

    def find(self, kid: str | None, algorithm: str) -> Key | Miss:
        """The one key that answers to a token's `kid` and `alg` (R11, R15, R23; RFC 7515 §4.1.4).

        A token without `kid` uses the only key of its algorithm. Keys are never tried one after the other.
        """
        found = self._index.get((kid, algorithm))
        if found is not None:
            return found
        return Miss.MISMATCH if kid in self._known else Miss.UNKNOWN

    @property
    def kids(self) -> tuple[str, ...]:
        """Ids of the usable keys, each once, in the document's order."""
        return tuple(dict.fromkeys(key.kid for key in self.keys if key.kid is not None))

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImportedJWKS:
    """A JWKS document, judged key by key."""

    keys: tuple[PublicJWK, ...]
    rejected: tuple[tuple[int, str], ...]  # place in the document and fixed reason
    private_members: bool  # a private or symmetric key was published: an alarm, not only a key less
    digest: bytes  # SHA-256 of the document
    known: frozenset[str]  # every well-formed kid in the document

    def for_algorithms(self, algorithms: Sequence[str]) -> KeySet:
        """The keys for tokens of these algorithms.

        A JWK without `alg` is for the first of them that fits it and for no other. The same JWK listed twice
        is one key; of two different ones with the same kid and algorithm neither is used (R23). Keys without
        kid answer only tokens without kid.
        """
        names = tuple(dict.fromkeys(map(canonical_algorithm, algorithms)))
        listed: dict[tuple[str | None, str], list[PublicJWK]] = {}
        for jwk in self.keys:
            algorithm = next((name for name in names if name in jwk.algorithms), None)
            if algorithm is None:
                continue
            # Keys without kid are no twins: a token without kid finds both, and is refused for that.
            rivals = listed.setdefault((jwk.kid, algorithm), [])
            if not any(_same(jwk, rival) for rival in rivals):
                rivals.append(jwk)
        keys: list[Key] = []
        rejected = list(self.rejected)
        for (kid, algorithm), rivals in listed.items():
            if kid is not None and len(rivals) > 1:
                rejected += ((jwk.index, TWIN) for jwk in rivals)
            else:
                keys += (_key(jwk, algorithm) for jwk in rivals)
        return KeySet(
            keys=tuple(keys),
            rejected=tuple(sorted(rejected)),
            digest=self.digest,
            _index=_indexed(keys),
            _known=self.known,
        )


def import_jwks(document: bytes) -> ImportedJWKS:
    """Judge a JWKS document of at most 256 KiB; raises `UnusableDocument` (R21-R23, R53; RFC 7517 §5)."""
    if len(document) > MAX_DOCUMENT_BYTES:
        raise UnusableDocument("the key set is larger than 256 KiB")
    try:
        members = parse_object(document)
    except MalformedJSON:
        raise UnusableDocument("the key set is not a strict JSON object") from None
    listed = members.get("keys")
    if not isinstance(listed, list):
        raise UnusableDocument("the key set has no keys array")
    if len(listed) > MAX_KEYS:
        raise UnusableDocument("the key set has more than 64 keys")
    keys: list[PublicJWK] = []
    rejected: list[tuple[int, str]] = []
    for index, jwk in enumerate(listed):
        try:
            if not isinstance(jwk, dict):
                raise UnusableKey("not an object")
            keys.append(import_jwk(jwk, index))
        except UnusableKey as error:
            rejected.append((index, str(error)))
    objects = [jwk for jwk in listed if isinstance(jwk, dict)]
    imported = ImportedJWKS(
        keys=tuple(keys),
        rejected=tuple(rejected),
        private_members=any(map(has_private_members, objects)),
        digest=hashlib.sha256(document).digest(),
        known=frozenset(kid for jwk in objects if isinstance(kid := jwk.get("kid"), str)),
    )
    # An all-unusable set must never replace a good one, so it is a failed refresh (R53).
    if not any(len(imported.for_algorithms((name,))) for name in SUPPORTED_ALGORITHMS):
        raise UnusableDocument("the key set has no usable key")
    return imported


def _same(one: PublicJWK, other: PublicJWK) -> bool:
    return one.thumbprint == other.thumbprint and one.issuer == other.issuer


def _key(jwk: PublicJWK, algorithm: str) -> Key:
    return Key(
        kid=jwk.kid,
        algorithm=algorithm,
        issuer=jwk.issuer,
        thumbprint=jwk.thumbprint,
        verify=bind(algorithm, jwk.public_key),
    )


def _indexed(keys: Sequence[Key]) -> Mapping[tuple[str | None, str], Key | Miss]:
    """Every question that has an answer, so that finding one is a single look-up."""
    index: dict[tuple[str | None, str], Key | Miss] = {}
    for key in keys:
        for name in (key.algorithm, "Ed25519") if key.algorithm == "EdDSA" else (key.algorithm,):
            if key.kid is not None:
                index[key.kid, name] = key
            index[None, name] = Miss.AMBIGUOUS if (None, name) in index else key
    return index
