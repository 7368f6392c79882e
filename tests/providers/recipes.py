"""The recipes of docs/providers.md: each block of Python with the shell block below it that says the same."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from skeldir_jwt_mw import Issuer, settings

PAGE = Path(__file__).resolve().parents[2] / "docs/providers.md"
TEXT = PAGE.read_text(encoding="utf-8")

_SECTION = re.compile(r"^## (.+)\n((?:.*\n)*?)(?=^## |\Z)", re.MULTILINE)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ROW = re.compile(r"^\| (`.*) \|$", re.MULTILINE)

INTRODUCTION = "How to read a recipe"
KUBERNETES = "Kubernetes"  # has a source, which no variable can say
DEFAULTS = Issuer("https://login.example.com/", audience="orders-api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One Issuer of the page."""

    name: str  # of the variable that holds it
    section: str
    issuer: Issuer
    shell: str  # what stands below it

    def environment(self) -> dict[str, str]:
        """The variables that a shell exports when it runs the block."""
        script = f"{self.shell}\nenv -0"
        done = subprocess.run(
            ["bash", "-ec", script],
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=True,
            timeout=60,
        )
        variables = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)
        return {name: value for name, value in variables.items() if name.startswith("SKELDIR_")}

    def dictionaries(self) -> list[dict[str, Any]]:
        """The settings that the block holds as JSON, none or one."""
        environment = self.environment()
        return [json.loads(environment["SKELDIR_JWT_CONFIG"])] if "SKELDIR_JWT_CONFIG" in environment else []

    @property
    def deviations(self) -> set[str]:
        """The settings in which it is not `Issuer(issuer, audience=...)`."""
        own = {f.name for f in fields(Issuer)} - {"issuer", "audience"}
        found = {name for name in own if getattr(self.issuer, name) != getattr(DEFAULTS, name)}
        return found | ({"audience"} if None in self.issuer.audience else set())


def sections() -> Mapping[str, str]:
    """The text of each section of the page, by its title."""
    return {found[1]: found[2] for found in _SECTION.finditer(TEXT)}


def blocks(section: str) -> list[tuple[str, str]]:
    """The code blocks of a section, each with its language."""
    return [(found[1], found[2]) for found in _BLOCK.finditer(sections()[section])]


def rows(section: str, *columns: str) -> list[dict[str, str]]:
    """The rows of the section's table that has these columns."""
    header = f"| {' | '.join(columns)} |\n"
    _, found, rest = sections()[section].partition(header)
    assert found, f"{section} has no table of {columns}"
    table, _, _ = rest.partition("\n\n")
    cells = [re.split(r"(?<!\\) \| ", row) for row in _ROW.findall(table)]
    return [dict(zip(columns, row, strict=True)) for row in cells]


def code_in(cell: str) -> list[str]:
    """The words between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def _recipes() -> Iterator[Recipe]:
    for section in sections():
        if section in (INTRODUCTION, KUBERNETES):
            continue
        found = blocks(section)
        for position, (language, code) in enumerate(found):
            if language != "python" or " = Issuer" not in code:
                continue
            namespace: dict[str, Any] = {}
            exec(compile(code, f"{PAGE.name}, {section}", "exec"), namespace)
            ((name, issuer),) = [(n, value) for n, value in namespace.items() if isinstance(value, Issuer)]
            language, shell = found[position + 1]
            assert language == "sh", name
            yield Recipe(name=name, section=section, issuer=issuer, shell=shell)


RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _recipes()}


def issuers_in(configured: Mapping[str, object]) -> tuple[Issuer, ...]:
    """What a dict of settings makes."""
    return settings.parse_settings(configured).issuers
