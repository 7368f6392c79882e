"""The fuzz targets: what they are seeded with passes, and what crashed them once does not again."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

FUZZ = Path(__file__).parents[2] / "fuzz"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fuzz_{name}", FUZZ / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


targets = loaded("targets")
CRASHES = [path for path in sorted((FUZZ / "crashes").iterdir()) if path.name != "README.md"]


@pytest.mark.parametrize("name", targets.TARGETS)
def test_every_target_has_seeds_that_it_takes(name: str) -> None:
    for seed in targets.SEEDS[name]:
        targets.TARGETS[name](seed)


def test_the_seeds_reach_the_accepted_path() -> None:
    assert targets.CHECK(targets.parse_object(targets.CLAIMS), targets.NOW).tenant == "acme"
    assert len(targets.import_jwks(targets.SEEDS["jwks"][0]).keys) == 2
    assert targets.parse_header(targets.b64(targets.HEADER)).kid == "key-1"


def test_what_crashed_a_target_once_does_so_no_more() -> None:
    for path in CRASHES:
        targets.TARGETS[path.name.partition("-")[0]](path.read_bytes())


@pytest.mark.parametrize("name", targets.TARGETS)
@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_a_target_takes_any_bytes(name: str, data: bytes) -> None:
    targets.TARGETS[name](data)


def test_a_broken_promise_is_an_error_that_the_fuzzer_sees() -> None:
    with pytest.raises(RuntimeError, match="two meanings"):
        targets.promise(False, "two meanings")
