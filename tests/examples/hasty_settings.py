"""The Django example's settings, for tests: they rotate sooner than a provider would, on a busy machine."""

from __future__ import annotations

import os

from project.settings import *  # noqa: F403
from project.settings import SKELDIR_JWT

_SECONDS = {
    "FLOOR": "SKELDIR_JWT_REFRESH_MIN_FLOOR_SECONDS",
    "FETCH_TIMEOUT": "SKELDIR_JWT_FETCH_TIMEOUT_SECONDS",
    "WAIT_BUDGET": "SKELDIR_JWT_WAIT_BUDGET_SECONDS",
    "LEASE": "SKELDIR_JWT_LEASE_SECONDS",
}
SKELDIR_JWT = {**SKELDIR_JWT, **{name: float(os.environ[variable]) for name, variable in _SECONDS.items()}}
