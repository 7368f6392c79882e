"""Two builds of one commit are one wheel, to the last byte: whoever doubts a release can make it again."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from project import ROOT, files, name_of

EPOCH = "1700000000"
BUILD = "from setuptools.build_meta import *; build_wheel({out!r})"


def built(at: Path, *, mode: int, age: float, **environment: str) -> tuple[str, str]:
    """Name and hash of a wheel that is built from a copy whose files have that mode and age."""
    copy, out = at / "copy", at / "out"
    out.mkdir(parents=True)
    for path in files():
        target = copy / name_of(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(mode)
        os.utime(target, (age, age))
    subprocess.run(
        [sys.executable, "-c", BUILD.format(out=str(out))],
        cwd=copy,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = out.glob("*.whl")
    return wheel.name, hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_two_builds_give_the_same_wheel(tmp_path: Path) -> None:
    one = built(
        tmp_path / "one", mode=0o644, age=1.6e9, SOURCE_DATE_EPOCH=EPOCH, TZ="UTC", PYTHONHASHSEED="1"
    )
    other = built(
        tmp_path / "another" / "place",
        mode=0o644,
        age=1.7e9,
        SOURCE_DATE_EPOCH=EPOCH,
        TZ="Asia/Tokyo",
        PYTHONHASHSEED="2",
        LC_ALL="C",
    )
    assert one == other


def test_another_date_would_be_noticed(tmp_path: Path) -> None:
    one = built(tmp_path / "one", mode=0o644, age=1.6e9, SOURCE_DATE_EPOCH=EPOCH)
    other = built(tmp_path / "other", mode=0o644, age=1.6e9, SOURCE_DATE_EPOCH="1700086400")
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_the_date_is_that_of_the_commit_in_releases_and_in_the_page_on_them() -> None:
    for place in (".github/workflows/release.yml", "SECURITY.md"):
        text = (ROOT / place).read_text(encoding="utf-8")
        assert "SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)" in text
