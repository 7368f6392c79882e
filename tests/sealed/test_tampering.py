"""Rows that somebody has changed who may write anything to the table: none brings a key into use (R55)."""

from __future__ import annotations

import psycopg
import pytest
import tampering
from attack import Attack, error_of, until

REPLAYS = {
    "swaps: an older row and a fence far ahead"
}  # well sealed, hence good for whoever has no newer one


def test_there_are_enough_kinds_of_tampering() -> None:
    assert len(tampering.ALL) >= 50


@pytest.mark.parametrize("name", tampering.ALL)
def test_r55_nothing_that_is_written_to_the_table_brings_a_key_into_use(attack: Attack, name: str) -> None:
    removed_stays_out = name not in REPLAYS
    tampering.ALL[name](attack)
    cold = attack.worker()
    attack.assert_known_keys_verify()
    attack.assert_nothing_forged_gets_in(cold, removed=removed_stays_out)
    for worker in attack.running:
        attack.assert_nothing_forged_gets_in(worker)
    attack.assert_it_recovers([*attack.running, cold], removed=removed_stays_out)


@pytest.mark.parametrize("name", tampering.REFUSED_BY_THE_TABLE)
def test_the_table_itself_refuses_what_could_not_be_read(attack: Attack, name: str) -> None:
    with pytest.raises(psycopg.DatabaseError):
        tampering.REFUSED_BY_THE_TABLE[name](attack)


def test_r55_a_replayed_row_is_refused_by_who_has_newer_keys_and_replaced_by_the_next_fetch(
    attack: Attack,
) -> None:
    attack.copy(tampering.CONTENT, source="kept", of=attack.source_key)
    cold = attack.worker()
    assert error_of(cold, attack.removed) is None  # as docs/security.md says
    for worker in attack.running:
        attack.assert_nothing_forged_gets_in(worker)
    # The running ones find the row older than what they have, and fetch over it.
    until(lambda: error_of(cold, attack.removed) is not None)
    attack.assert_it_recovers([*attack.running, cold])
