"""The project of the Django tests is one that Django itself finds nothing wrong with."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection


def test_the_checks_of_the_project_pass() -> None:
    call_command("check", fail_level="WARNING")


@pytest.mark.django_db
def test_the_database_is_a_test_database_on_the_run_s_server() -> None:
    assert connection.vendor == "postgresql"
    assert str(connection.settings_dict["NAME"]).startswith("test_")
