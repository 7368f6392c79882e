"""Response headers about time and versions, honest and hostile."""

from __future__ import annotations

import pytest

from skeldir_jwt_mw.sources.freshness import MAX_AGE_LIMIT, max_age, retry_after, validator

NOW = 1_763_900_000.0  # Sun, 23 Nov 2025 12:13:20 GMT


@pytest.mark.parametrize(
    ("cache_control", "age", "seconds"),
    [
        ("max-age=300", None, 300.0),
        ("public, max-age=300, must-revalidate", None, 300.0),
        ("Public, Max-Age=300", None, 300.0),
        ('max-age="300"', None, 300.0),
        ("max-age=300", "100", 200.0),
        ("max-age=300", "400", 0.0),
        ("max-age=0", None, 0.0),
        ("max-age=300, max-age=60", None, 60.0),
        ("max-age=99999999999999999999999999", None, float(MAX_AGE_LIMIT)),
        ("max-age=300", "-5", 300.0),
        ("max-age=300", "abc", 300.0),
        ("max-age=300", "9" * 5000, 300.0),
        ("s-maxage=300", None, None),
        ("x-max-age=300", None, None),
        ("max-age", None, None),
        ("max-age=", None, None),
        ("max-age=-1", None, None),
        ("max-age=1e3", None, None),
        ("max-age=3٣", None, None),
        ("no-store", None, None),
        ("", None, None),
        ("max-age=" + "9" * 5000, None, float(MAX_AGE_LIMIT)),
    ],
)
def test_max_age_is_read_less_age_and_bounded(
    cache_control: str, age: str | None, seconds: float | None
) -> None:
    headers = {"cache-control": cache_control} | ({} if age is None else {"age": age})
    assert max_age(headers) == seconds


def test_no_cache_control_means_no_max_age() -> None:
    assert max_age({}) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("3601", 3600.0),
        ("99999999999999999999", 3600.0),
        ("9" * 5000, None),
        ("-5", None),
        ("5.5", None),
        ("1e9", None),
        ("soon", None),
        ("", None),
        ("Sun, 23 Nov 2025 12:15:20 GMT", 120.0),
        ("Sunday, 23-Nov-25 12:15:20 GMT", 120.0),
        ("Sun, 23 Nov 2025 12:00:00 GMT", 0.0),
        ("Sun, 23 Nov 2125 12:00:00 GMT", 3600.0),
        ("Sun, 99 Nov 2025 12:00:00 GMT", None),
        ("Sun, 23 Nov 99999999999 12:00:00 GMT", None),
        ("Sun, 23 Nov 2025 12:15:20 -0000", 120.0),
        ("Sun, 23 Nov 2025 12:15:20 GMT" + " " * 100 + "x", None),
        (",", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, now=NOW) == seconds


def test_a_retry_after_date_is_measured_against_the_responses_own_clock() -> None:
    headers = {"retry-after": "Mon, 01 Jan 2001 00:01:30 GMT", "date": "Mon, 01 Jan 2001 00:00:00 GMT"}
    assert retry_after(headers, now=NOW) == 90.0


def test_no_retry_after_means_none() -> None:
    assert retry_after({}) is None


@pytest.mark.parametrize("value", ['"abc"', 'W/"abc"', "Sun, 23 Nov 2025 12:13:20 GMT", "x" * 1024])
def test_a_plain_validator_is_kept(value: str) -> None:
    assert validator(value) == value


@pytest.mark.parametrize("value", [None, "", "x" * 1025, "a\x00b", "a\r\nX: y", "a\tb", "a\x7f", "é", "\n"])
def test_a_validator_that_is_too_long_or_not_printable_is_dropped(value: str | None) -> None:
    assert validator(value) is None
