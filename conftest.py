"""In CI a proof that was not made counts as one that failed: a skip or an expected failure is an error.

A test that the platform or the installed extras rule out says so with the marker `platform` and may skip.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Generator
from typing import TypeVar

import pytest

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)


def _skip_fails(report: R) -> R:
    if os.environ.get("CI") and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


def pytest_configure() -> None:
    """Load the settings of the tests' Django project (tests/django_app) before pytest-django looks for any.

    Without a variable that the processes which tests start would inherit.
    """
    if importlib.util.find_spec("django") is None or importlib.util.find_spec("django_site") is None:
        return
    from django.conf import ENVIRONMENT_VARIABLE, settings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT_VARIABLE, "django_site.settings")
        assert settings.INSTALLED_APPS


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test is a failed one, unless the platform rules it out."""
    report = yield
    return report if item.get_closest_marker("platform") else _skip_fails(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself (`importorskip`) fails whole."""
    return _skip_fails((yield))
