"""No signature holds what a process holds: help() and documentation print defaults as they are."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MappingProxyType
from typing import Any

import pytest

import skeldir_jwt_mw
from skeldir_jwt_mw.options import Default

CANARY = "canary-of-the-environment"
PLAIN = (str, bytes, int, float, bool, Enum, type, FunctionType, BuiltinFunctionType, type(None), type(...))


def modules() -> Iterator[str]:
    """Every module that can be imported by itself; a migration or a command's entry is run by others."""
    for found in pkgutil.walk_packages(skeldir_jwt_mw.__path__, "skeldir_jwt_mw."):
        if (
            not found.name.endswith("__main__")
            and ".django" not in found.name
            and found.name.count("apps") == 0
        ):
            yield found.name


def django_modules() -> list[str]:
    return [
        found.name
        for found in pkgutil.walk_packages(skeldir_jwt_mw.__path__, "skeldir_jwt_mw.")
        if ".django" in found.name and "spectacular" not in found.name
    ]


def callables_of(module: Any) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            for member, function in vars(value).items():
                plain = getattr(function, "__func__", function)
                if inspect.isfunction(plain):
                    yield f"{name}.{member}", plain


def is_plain(default: object) -> bool:
    if isinstance(default, (tuple, frozenset)):
        return all(map(is_plain, default))
    if isinstance(default, MappingProxyType):
        return len(default) == 0
    if is_dataclass(default) and type(default).__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return all(is_plain(getattr(default, member.name)) for member in fields(default))  # type: ignore[arg-type]
    if isinstance(default, Default):
        return is_plain(default.value)
    markers = ("object", "_HAS_DEFAULT_FACTORY_CLASS")  # for "not given", and of dataclasses
    return isinstance(default, PLAIN) or type(default).__name__ in markers


def live_defaults(names: list[str]) -> list[str]:
    return [
        f"{module}.{name}({parameter.name}={type(parameter.default).__name__})"
        for module in names
        for name, function in callables_of(importlib.import_module(module))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is not inspect.Parameter.empty and not is_plain(parameter.default)
    ]


def test_no_default_value_is_a_live_object() -> None:
    names = list(modules())
    assert "skeldir_jwt_mw.verifier" in names
    assert live_defaults([*names, *django_modules()]) == []


@pytest.mark.parametrize(
    "what", ["Verifier", "seal_keys_from_env", "Issuer", "RefreshPolicy", "PostgresStore"]
)
def test_help_prints_nothing_of_the_environment(what: str) -> None:
    code = (
        "import inspect, pydoc, skeldir_jwt_mw as package\n"
        f"it = package.{what}\n"
        "print(pydoc.render_doc(it), inspect.signature(it))\n"
        "print([inspect.signature(m) for _, m in inspect.getmembers(it, callable) if inspect.isroutine(m)"
        " and not isinstance(m, type(object().__str__)) and not isinstance(m, type(object.__init__))"
        " and not inspect.isbuiltin(m)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"SKELDIR_JWT_SEAL_KEYS": CANARY, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout


def test_a_live_default_would_be_noticed() -> None:
    for default in (os.environ, sys.stdout, {"a": 1}, [1], skeldir_jwt_mw.MemoryStore()):
        assert not is_plain(default)
    for default in (None, 1, "x", (), ("a", None), MappingProxyType({}), object(), len):
        assert is_plain(default)
