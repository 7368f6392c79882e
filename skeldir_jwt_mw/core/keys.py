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
from typing import NamedTuple

from skeldir_jwt_mw.errors import InvalidToken

from .compact import Header, is_key_id
from .jwk import PublicJWK, UnusableKey, certificates_of, has_private_members, import_jwk
from .signature import SUPPORTED_ALGORITHMS, Verify, bind, canonical_algorithm
from .strict_json import MalformedJSON, parse_object

MAX_DOCUMENT_BYTES = 262_144
MAX_KEYS = 64

TWIN = "two different keys with one kid and algorithm"


class UnusableDocument(ValueError):
    """A JWKS document without a key to verify with; the text is put together of fixed ones alone."""


MAX_TRIED = 4  # keys for a token that does not name one alone
MAX_REASONS = 3  # told of a document without a usable key


class Miss(Enum):
    """Why a key set has no key for a token; newer keys might, but for the second."""

    UNKNOWN = "unknown"  # nothing answers to the kid, the certificate, or the algorithm without either
    AMBIGUOUS = "ambiguous"  # the token names no key, and more fit it than are tried; or it names two
    MISMATCH = "mismatch"  # the document has the key that is named, but not usable, or not for the algorithm


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedKey:
    """A JWK that no token is verified with; `kid` is None where it has none that is well-formed."""

    index: int  # its place in the document
    kid: str | None
    reason: str  # a fixed text
    algorithm: str | None = None  # where it was found good for one, before it was left out
    certificates: tuple[str, ...] = ()  # thumbprints of its certificate


class Found(NamedTuple):
    """The keys that may have signed a token; with `named` it is the one that the token names."""

    keys: tuple[Key, ...]
    named: bool


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
    rejected: tuple[RejectedKey, ...]  # for the operator
    digest: bytes  # SHA-256 of the document
    _index: Mapping[tuple[str, str], Found]
    _by_certificate: Mapping[str, tuple[Key, ...]]  # by thumbprint, also those of no usable key
    _unnamed: Mapping[str, Found | Miss]  # by algorithm
    _uncertified: Mapping[str, Found | Miss]  # the same, of keys without a certificate
    _known: frozenset[str]  # every kid in the document, usable or not

    def find(self, kid: str | None, algorithm: str, certificates: Sequence[str] = ()) -> Found | Miss:
        """The keys that answer to a token's `kid`, `alg` and certificate thumbprints (R11, R15, R23).

        The first of kid and certificate that the token has names its key (RFC 7515 §4.1.4, §4.1.7, §4.1.8). A
        token that names none may be signed by any key of its algorithm, of which a few are tried.
        """
        if kid is not None:
            found = self._index.get((kid, algorithm))
            if found is not None:
                return found
            return Miss.MISMATCH if kid in self._known else Miss.UNKNOWN
        if certificates:
            return self._of_certificate(certificates, algorithm)
        return self._unnamed.get(algorithm, Miss.UNKNOWN)

    def _of_certificate(self, certificates: Sequence[str], algorithm: str) -> Found | Miss:
        """The keys that the thumbprints name; one that names no usable key has no say.

        A token whose thumbprints name different keys does not tell which of them has signed it: that is as
        ambiguous as none at all, and no reason to fetch.
        """
        listed = [self._by_certificate[one] for one in certificates if one in self._by_certificate]
        if usable := [keys for keys in listed if keys]:
            named = [key for key in usable[0] if key in usable[-1]]
            fitting = tuple(key for key in named if algorithm in _names(key))
            if not named or len(fitting) > MAX_TRIED:
                return Miss.AMBIGUOUS
            return Found(fitting, named=len(fitting) == 1) if fitting else Miss.MISMATCH
        return self._uncertified.get(algorithm, Miss.MISMATCH if listed else Miss.UNKNOWN)

    def refusal(self, header: Header, miss: Miss) -> InvalidToken:
        """Why a token is refused whose key no refresh has brought."""
        if miss is not Miss.MISMATCH:
            return InvalidToken("unknown_kid")
        if header.kid is None:
            meant = [key for key in self.rejected if set(key.certificates) & set(header.certificates)]
            has_namesake = any(map(self._by_certificate.get, header.certificates))
        else:
            meant = [key for key in self.rejected if key.kid == header.kid]
            has_namesake = header.kid in self.kids
        algorithm = canonical_algorithm(header.algorithm)
        for key in meant:
            # Where a usable key has the name too, that one is meant, unless the algorithm tells otherwise.
            if not has_namesake or key.algorithm == algorithm:
                return InvalidToken("unusable_key", f"the key was left out: {key.reason}")
        return InvalidToken("algorithm_mismatch")

    @property
    def left_out(self) -> list[dict[str, str | None]]:
        """The id of each key that was left out, and why, in plain values for the operator."""
        return [{"kid": key.kid, "reason": key.reason} for key in self.rejected]

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
    rejected: tuple[RejectedKey, ...]
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
                rejected += (_twin(jwk, algorithm) for jwk in rivals)
            else:
                keys += (_key(jwk, algorithm) for jwk in rivals)
        certified = {(jwk.thumbprint, jwk.issuer) for jwk in self.keys if jwk.certificates}
        return KeySet(
            keys=tuple(keys),
            rejected=tuple(sorted(rejected, key=lambda key: key.index)),
            digest=self.digest,
            _index={
                (key.kid, name): _named(key) for key in keys if key.kid is not None for name in _names(key)
            },
            _by_certificate=self._by_certificate(keys),
            _unnamed=_unnamed(keys),
            _uncertified=_unnamed([key for key in keys if (key.thumbprint, key.issuer) not in certified]),
            _known=self.known,
        )

    def _by_certificate(self, keys: Sequence[Key]) -> Mapping[str, tuple[Key, ...]]:
        """The keys by thumbprint; one that several JWKs list goes by the thumbprints of them all."""
        listed: dict[tuple[str, str | None], dict[str, Key]] = {}  # by algorithm, each key once
        for key in keys:
            listed.setdefault((key.thumbprint, key.issuer), {}).setdefault(key.algorithm, key)
        found: dict[str, dict[Key, None]] = {}
        for jwk in self.keys:
            named = dict.fromkeys(listed.get((jwk.thumbprint, jwk.issuer), {}).values())
            for certificate in jwk.certificates:
                found.setdefault(certificate, {}).update(named)
        for left_out in self.rejected:
            for certificate in left_out.certificates:
                found.setdefault(certificate, {})
        return {certificate: tuple(named) for certificate, named in found.items()}


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
    rejected: list[RejectedKey] = []
    for index, jwk in enumerate(listed):
        try:
            if not isinstance(jwk, dict):
                raise UnusableKey("not an object")
            keys.append(import_jwk(jwk, index))
        except UnusableKey as error:
            kid = jwk.get("kid") if isinstance(jwk, dict) else None
            rejected.append(
                RejectedKey(
                    index=index,
                    kid=kid if is_key_id(kid) else None,
                    reason=str(error),
                    certificates=certificates_of(jwk) if isinstance(jwk, dict) else (),
                )
            )
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
        reasons = dict.fromkeys(key.reason for key in imported.for_algorithms(SUPPORTED_ALGORITHMS).rejected)
        why = "; ".join(list(reasons)[:MAX_REASONS])
        raise UnusableDocument("the key set has no usable key" + (why and f": {why}"))
    return imported


def _same(one: PublicJWK, other: PublicJWK) -> bool:
    return one.thumbprint == other.thumbprint and one.issuer == other.issuer


def _twin(jwk: PublicJWK, algorithm: str) -> RejectedKey:
    return RejectedKey(
        index=jwk.index, kid=jwk.kid, reason=TWIN, algorithm=algorithm, certificates=jwk.certificates
    )


def _key(jwk: PublicJWK, algorithm: str) -> Key:
    return Key(
        kid=jwk.kid,
        algorithm=algorithm,
        issuer=jwk.issuer,
        thumbprint=jwk.thumbprint,
        verify=bind(algorithm, jwk.public_key),
    )


def _names(key: Key) -> tuple[str, ...]:
    """What tokens may call the key's algorithm (RFC 9864 §2.2)."""
    return (key.algorithm, "Ed25519") if key.algorithm == "EdDSA" else (key.algorithm,)


def _named(key: Key) -> Found:
    return Found((key,), named=True)


def _unnamed(keys: Sequence[Key]) -> Mapping[str, Found | Miss]:
    """By algorithm, the keys that a token is tried with that names none."""
    fitting: dict[str, tuple[Key, ...]] = {}
    for key in keys:
        for name in _names(key):
            fitting[name] = (*fitting.get(name, ()), key)
    return {
        name: Miss.AMBIGUOUS if len(few) > MAX_TRIED else Found(few, named=False)
        for name, few in fitting.items()
    }
