"""Every example as its README runs it: real servers, several workers, one Postgres, keys that rotate."""

from __future__ import annotations

import pytest
from staging import EXAMPLES, Staged
from traffic import assert_a_rotation_under_load_fails_no_request_and_costs_one_fetch

HERE = ("fastapi_app", "flask_app", "starlette_app", "wsgi_app")
ELSEWHERE = ("celery_worker", "django_app")  # in modules of their own


def test_every_example_is_tested() -> None:
    folders = [folder.name for folder in EXAMPLES.iterdir() if (folder / "README.md").is_file()]
    assert sorted(folders) == sorted(HERE + ELSEWHERE)


@pytest.mark.parametrize("name", HERE)
def test_it_does_what_its_readme_says_and_a_rotation_under_load_fails_no_request(name: str) -> None:
    """One test, for starting an example costs more than asking it."""
    with Staged(name) as example:
        assert example.surprises() == []
        assert_a_rotation_under_load_fails_no_request_and_costs_one_fetch(example)
