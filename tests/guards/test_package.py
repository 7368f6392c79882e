"""What is shipped is what is in the tree: the wheel, the sdist, and the lowest versions they ask for."""

from __future__ import annotations

import configparser
import importlib.resources
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from project import ROOT, files, name_of

import skeldir_jwt_mw

MAX_LIBRARY_BYTES = 220_000  # without the three parts below
MAX_OPERATORS_BYTES = 25_000  # the commands, which no service loads
MAX_KIT_BYTES = 40_000  # the test kit: an embedded Postgres, a provider, a fleet, the demo
MAX_FRAMEWORKS_BYTES = 60_000  # the adapters that are imported together with their frameworks
KIT = "skeldir_jwt_mw/testing/"
FRAMEWORKS = tuple(
    f"skeldir_jwt_mw/{name}"
    for name in ("authlib.py", "django/", "fastapi.py", "flask.py", "flask_lifetime.py", "openapi.py")
)

OPERATORS = tuple(
    f"skeldir_jwt_mw/{name}.py"
    for name in (
        "__main__", "cli", "commands", "explanation", "exposure", "extras", "migrate", "pasted", "picture",
        "report",
    )
)  # fmt: skip


def shipped() -> dict[str, bytes]:
    """What the wheel has to hold, by its name there: the package with its SQL, and the migrations in it."""
    content = {}
    for path in files("skeldir_jwt_mw", "migrations"):
        name = re.sub(r"^migrations/", "skeldir_jwt_mw/migrations/", name_of(path))
        content[name] = path.read_bytes()
    return content


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built from a copy of the tree so that nothing is left in it."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("built")
    for path in files():
        target = copy / name_of(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    code = f"from setuptools.build_meta import *; build_sdist({str(out)!r}); build_wheel({str(out)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


def test_the_wheel_holds_the_tree_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert sorted(content) == sorted(shipped())
    assert content == shipped()


def test_what_a_service_imports_is_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.compress_size for info in archive.infolist()}
    kit = sum(size for name, size in sizes.items() if name.startswith(KIT))
    frameworks = sum(size for name, size in sizes.items() if name.startswith(FRAMEWORKS))
    operators = sum(sizes[name] for name in OPERATORS)
    assert sum(sizes.values()) - kit - frameworks - operators < MAX_LIBRARY_BYTES
    assert operators < MAX_OPERATORS_BYTES
    assert kit < MAX_KIT_BYTES
    assert frameworks < MAX_FRAMEWORKS_BYTES


def test_no_service_loads_the_commands() -> None:
    code = (
        "import sys, skeldir_jwt_mw.asgi, skeldir_jwt_mw.wsgi; skeldir_jwt_mw.Verifier; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    of_commands = {name.removesuffix(".py").replace("/", ".") for name in OPERATORS}
    assert of_commands & set(done.stdout.split()) == set()


def test_the_wheel_is_typed_and_licensed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    assert "skeldir_jwt_mw/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "\nLicense-Expression: Apache-2.0\n" in metadata


def test_an_installed_wheel_finds_its_migrations(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)  # a pure wheel is installed by unpacking it
    code = """if True:
        import importlib.resources, skeldir_jwt_mw.migrations
        folder = importlib.resources.files("skeldir_jwt_mw.migrations")
        print(folder, *(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")))
    """
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    folder, *names = done.stdout.split()
    assert Path(folder) == tmp_path / "skeldir_jwt_mw/migrations"
    assert sorted(names) == [path.name for path in files("migrations/*.sql")]


def test_this_installation_finds_the_migrations_of_the_tree() -> None:
    folder = importlib.resources.files("skeldir_jwt_mw.migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    assert names == [path.name for path in files("migrations/*.sql")]


def test_the_sdist_builds_the_same_wheel_and_carries_the_tests(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {name_of(path) for path in files("skeldir_jwt_mw", "migrations", "tests", ":!tests/guards")}
    assert expected <= names
    assert {
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "SECURITY.md",
        "pyproject.toml",
        "setup.cfg",
        "tox.ini",
    } <= names
    assert [name for name in names if name.endswith((".pyc", ".so"))] == []


def configuration(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / name, encoding="utf-8")
    return parser


def versions(lines: str, pattern: str) -> dict[str, tuple[int, ...]]:
    """Requirement names to versions, for the lines that match."""
    matches = (re.fullmatch(pattern, line.strip()) for line in lines.splitlines())
    return {found[1]: tuple(map(int, found[2].split("."))) for found in matches if found}


def test_the_lowest_versions_allowed_are_the_ones_tested() -> None:
    setup = configuration("setup.cfg")
    extras = setup["options.extras_require"]
    run_time = [
        setup["options"]["install_requires"],
        *(extras[name] for name in extras if name not in ("test", "servers")),
    ]
    lowest = versions("\n".join(run_time), r"([\w.\[\]-]+)>=([\d.]+)")
    tested = versions(configuration("tox.ini")["testenv"]["deps"], r"min: ([\w.\[\]-]+)==([\d.]+)")
    assert lowest
    assert {name: tested[name][: len(version)] for name, version in lowest.items()} == lowest
    assert [name for name, version in lowest.items() if any(tested[name][len(version) :])] == []


def test_every_python_and_django_that_the_metadata_names_is_tested() -> None:
    setup = configuration("setup.cfg")
    pythons = re.findall(r"Python :: 3\.(\d+)", setup["metadata"]["classifiers"])
    djangos = re.findall(r"Django :: (\d+)\.(\d+)", setup["metadata"]["classifiers"])
    environments = configuration("tox.ini")["tox"]["env_list"]
    assert sorted(set(re.findall(r"^py3(\d+)-django", environments, re.M))) == pythons
    assert setup["options"]["python_requires"] == f">=3.{pythons[0]}"
    tested = set(",".join(re.findall(r"-django\{?([\d,]+)", environments)).split(","))
    assert sorted(tested) == ["".join(version) for version in djangos]


def test_the_version_is_the_same_wherever_it_is_told() -> None:
    version = configuration("setup.cfg")["metadata"]["version"]
    assert skeldir_jwt_mw.__version__ == version
    assert f"\n## [{version}] - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
