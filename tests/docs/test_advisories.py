"""docs/security.md lists the advisories that the tests are about, and each of those tests has its guard."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import advisories
import pytest
from advisories import ROOT
from corpus import FAMILIES as HOSTILE
from oddities import oddities
from pages import section, tables, text_of

sys.path.append(str(ROOT / "tests/advisories"))

from removals import GUARDS

FAMILIES = {
    "T-ALG", "T-ISS", "T-CRIT", "T-KEYALG", "T-URL", "T-AMP", "T-KEEP", "T-B64", "T-REDIR",
    "T-DEPTH", "T-BADKEY", "T-B64URL", "T-KEYSIZE", "T-SIZE", "T-JWE", "T-HDRKEY", "T-NONE",
    "T-FAILOPEN", "T-LOG", "T-OCT", "T-POLYGLOT", "T-PSYCHIC", "T-VCACHE", "T-NUMDATE", "T-XISS",
    "T-REVOKE", "T-DOTS", "T-CANCEL", "T-FUZZ", "T-JSONSER",
}  # fmt: skip
ROWS = advisories.rows()
SCORE = tables(section(text_of("docs/security.md"), "Other people's tests, and hostile ones of our own"))[0]


def test_the_table_is_the_one_in_the_tree() -> None:
    written = Path(ROOT / "docs/security.md").read_text(encoding="utf-8")
    assert written == advisories.rewritten(), "run: python tests/docs/advisories.py"


def test_every_family_of_advisories_has_a_test() -> None:
    assert {row.family for row in ROWS} == FAMILIES
    assert len({name for row in ROWS for name in row.advisories}) >= 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.test}-{row.advisories[0]}")
def test_a_row_names_advisories_and_says_what_went_wrong(row: advisories.Row) -> None:
    for name in row.advisories:
        assert re.fullmatch(r"CVE-\d{4}-\d+( \(GHSA[\w-]+\))?|GHSA(-\w{4})+|lestrrat jwx v1\.2\.0", name), (
            name
        )
    assert len(row.what) > 15


def test_every_test_of_an_advisory_has_a_guard_that_is_taken_out_and_no_guard_is_without_one() -> None:
    guarded = {guard.proof.partition("::")[2] for guard in GUARDS.values()}
    assert guarded == {row.test for row in ROWS}
    assert {name.partition(":")[0] for name in GUARDS} == FAMILIES
    assert all(
        name.partition(":")[0] in f"T-{guard.proof.partition('::test_t_')[2].split('_')[0]}".upper()
        for name, guard in GUARDS.items()
    )


def test_the_score_on_the_page_is_one_of_the_corpus_as_it_is() -> None:
    hostile = sum(len(family.cases()) for family in HOSTILE.values())
    ours = {
        row[""]: next(cell for name, cell in row.items() if name.startswith("skeldir_jwt_mw"))
        for row in SCORE
    }
    assert ours[f"false accepts, of {hostile} hostile tokens"] == "0"
    assert ours[f"families with a false accept, of {len(HOSTILE)}"] == "0"
    assert ours[f"false rejects, of {len(oddities())} legal oddities"] == "0"
    assert ours["foreign exceptions"] == "0"
    for library in ("joserfc", "PyJWT", "jwcrypto"):
        assert any(name.startswith(f"{library} ") for name in SCORE[0])
