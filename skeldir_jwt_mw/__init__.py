"""JWT verification for ASGI and WSGI services whose whole fleet fetches the JWKS once."""

from __future__ import annotations

import logging

from .config import Issuer, RefreshPolicy
from .errors import ConfigurationError, InsufficientScope, InvalidToken, JWTError, KeysUnavailable
from .log_lines import PrintableArguments
from .seal_keys import seal_keys_from_env
from .stores import MemoryStore, PostgresStore
from .token import VerifiedToken, current_token
from .verifier import Verifier

__all__ = [
    "ConfigurationError",
    "InsufficientScope",
    "InvalidToken",
    "Issuer",
    "JWTError",
    "KeysUnavailable",
    "MemoryStore",
    "PostgresStore",
    "RefreshPolicy",
    "VerifiedToken",
    "Verifier",
    "current_token",
    "seal_keys_from_env",
]

__version__ = "0.1.0"

logging.getLogger("skeldir_jwt_mw").addFilter(PrintableArguments())

# The application decides where log records go.
logging.getLogger("skeldir_jwt_mw").addHandler(logging.NullHandler())
