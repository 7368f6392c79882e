"""The error tree: the caller's fault, ours, and misconfiguration, each with a stable code.

Every text here is fixed. No error ever holds a token, a claim value, a `kid` or key material, so an error may
be logged as it is; responses do not even carry the text (RFC 6750 §3.1 gives them their own).
"""

from __future__ import annotations

from collections.abc import Iterable

INVALID_TOKEN_MESSAGES = {
    "malformed": "the token is not a compact JWS of three base64url segments",
    "too_large": "the token or its header is longer than allowed",
    "encrypted": "the token is a JWE; only signed tokens are accepted",
    "bad_header": "the header is not a JSON object with well-formed members",
    "algorithm_not_allowed": "the algorithm is not one that the issuer is configured for",
    "unsupported_header": "the header has a member that changes how the token is to be read",
    "wrong_type": "the token is of a type that is not accepted here",
    "bad_claims": "the payload is not a JSON object with well-formed claims",
    "wrong_issuer": "the issuer is not a configured one",
    "wrong_audience": "the audience does not contain this service",
    "missing_claim": "a required claim is missing",
    "claim_mismatch": "a claim does not have a required value",
    "expired": "the token has expired",
    "not_yet_valid": "the token is not valid yet",
    "issued_in_future": "the token was issued in the future",
    "bad_scope": "a scope claim is neither a string nor a list of strings",
    "bad_tenant": "the tenant claim is missing or not well-formed",
    "sender_constrained": "the token is bound to its sender and cannot be used as a bearer token",
    "unknown_kid": "no key of the issuer's current key set answers to the token's key id",
    "ambiguous_key": "the token does not say which of several keys has signed it",
    "unusable_key": "the issuer publishes the key that the token names, but not in a usable form",
    "algorithm_mismatch": "the key that the token names is not for the token's algorithm",
    "bad_signature": "the signature does not verify",
    "rejected_user": "the application does not know the token's subject",
}


class JWTError(Exception):
    """Base of every error that this library raises on purpose; `code` is stable, for logs and metrics."""

    code: str = "jwt_error"


class InvalidToken(JWTError):
    """The token must be refused: the caller's fault, 401 (RFC 6750 §3.1 `invalid_token`).

    `code` is a key of `INVALID_TOKEN_MESSAGES`. `hint` is a fixed sentence for the operator ("issuer
    differs by a trailing slash") or None; it never holds anything that the token held.
    """

    def __init__(self, code: str, hint: str | None = None) -> None:
        super().__init__(INVALID_TOKEN_MESSAGES[code])
        self.code = code
        self.hint = hint

    def __reduce__(self) -> tuple[type[InvalidToken], tuple[str, str | None]]:
        return (type(self), (self.code, self.hint))  # worker processes hand their exceptions on by pickle


class InsufficientScope(JWTError):
    """The token is good but lacks a scope: 403; `required` holds the scopes asked for (RFC 6750 §3.1)."""

    code = "insufficient_scope"

    def __init__(self, required: Iterable[str]) -> None:
        super().__init__("the token lacks a required scope")
        self.required: tuple[str, ...] = tuple(required)

    def __reduce__(self) -> tuple[type[InsufficientScope], tuple[tuple[str, ...]]]:
        return (type(self), (self.required,))


MIN_RETRY_AFTER = 1.0
MAX_RETRY_AFTER = 3600.0


class KeysUnavailable(JWTError):
    """The token cannot be judged now because its keys are not to be had: our fault, 503 with Retry-After.

    `retry_after` is in seconds, clamped to [1, 3600]. `reason` is a fixed word for the operator, one of
    `no_keys`, `running`, `failed`, `abandoned`, `floor`, `store`, `row_refused`, `older_keys`, `overdue`,
    `local`, `lost`, `waiters`, `no_fitting_key`, `closed`.
    """

    code = "keys_unavailable"

    def __init__(self, reason: str, retry_after: float = MIN_RETRY_AFTER) -> None:
        super().__init__(f"signing keys are unavailable ({reason})")
        self.reason = reason
        self.retry_after = min(MAX_RETRY_AFTER, max(MIN_RETRY_AFTER, retry_after))

    def __reduce__(self) -> tuple[type[KeysUnavailable], tuple[str, float]]:
        return (type(self), (self.reason, self.retry_after))


class ConfigurationError(JWTError):
    """A setting is wrong; the text names it, its value and what is allowed. Never raised in a request."""

    code = "configuration"
