"""Errors cross process boundaries whole: task queues and process pools hand them on by pickle."""

from __future__ import annotations

import copy
import pickle

import pytest

from skeldir_jwt_mw import ConfigurationError, InsufficientScope, InvalidToken, JWTError, KeysUnavailable

ERRORS = (
    InvalidToken("expired", "do the clocks agree?"),
    InvalidToken("malformed"),
    InsufficientScope(["orders:read", "orders:write"]),
    KeysUnavailable("failed", 12.5),
    ConfigurationError("floor (0) must be positive"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_after_pickling(error: JWTError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert (str(twin), twin.code, vars(twin)) == (str(error), error.code, vars(error))
