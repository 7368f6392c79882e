"""CI keeps what it promises: named jobs, few permissions, and no skip that passes for a proof."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT

WORKFLOWS = {
    path.name: path.read_text(encoding="utf-8")
    for path in sorted((ROOT / ".github/workflows").glob("*.y*ml"))
}
WORKFLOW = WORKFLOWS["ci.yml"]
RELEASE = WORKFLOWS["release.yml"]


@pytest.mark.parametrize("job", ["JWT Tenant Context Invariants", "Phase 1 Negative Controls"])
def test_the_workflow_has_the_jobs_that_evidence_names(job: str) -> None:
    assert re.search(rf"^    name: {job}$", WORKFLOW, re.MULTILINE)


def test_the_workflow_may_only_read() -> None:
    assert re.findall(r"^ *permissions:.*(?:\n +.*)?", WORKFLOW, re.MULTILINE) == [
        "permissions:\n  contents: read"
    ]


def test_the_release_may_only_read_and_what_publishes_only_say_who_it_is() -> None:
    found = re.findall(r"^( *)permissions:(.*(?:\n\1 +\S.*)*)", RELEASE, re.MULTILINE)
    assert [" ".join(scopes.split()) for _, scopes in found] == [
        "{}",
        "contents: read",
        "attestations: write id-token: write",
    ]
    build, publish = RELEASE.split("\n  publish:\n")
    assert "id-token" not in build  # nothing that is built from the tree runs where one can publish
    assert "environment: pypi\n" in publish
    assert "run:" not in publish
    assert "checkout" not in publish
    assert "secrets." not in RELEASE
    assert "pull_request" not in RELEASE


def test_a_release_is_attested_and_built_twice() -> None:
    assert "actions/attest-build-provenance@" in RELEASE
    assert "attestations: true" in RELEASE
    assert "cmp dist/*.whl again/*.whl" in RELEASE


def test_the_workflow_asks_for_known_weaknesses_of_what_is_installed() -> None:
    assert "python -m pip_audit --skip-editable" in WORKFLOW


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_and_leave_no_credentials_behind(name: str) -> None:
    workflow = WORKFLOWS[name]
    uses = re.findall(r"uses: (\S+)", workflow)
    assert uses
    # A tag may be moved to other code; the commit says which version it was.
    pinned = r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
    lines = re.findall(r"uses: (.+)", workflow)
    assert [action for action in lines if not re.fullmatch(pinned, action)] == []
    assert workflow.count("actions/checkout@") == workflow.count("persist-credentials: false")
    # No text that others choose is put into a script.
    assert re.findall(r"run:.*\$\{\{ *github\.(event|head_ref|ref_name)", workflow) == []


def test_one_action_is_one_commit_in_every_workflow() -> None:
    pins: dict[str, set[str]] = {}
    for workflow in WORKFLOWS.values():
        for action, commit in re.findall(r"uses: (\S+)@(\S+)", workflow):
            pins.setdefault(action, set()).add(commit)
    assert {action for action, commits in pins.items() if len(commits) > 1} == set()


def test_every_test_folder_that_a_job_names_exists() -> None:
    named = set(re.findall(r"\btests/[\w./]+", WORKFLOW + (ROOT / ".ci/run").read_text(encoding="utf-8")))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def outcome(tmp_path: Path, test: str, **environment: str) -> str:
    """The last line of a pytest run over `test`, under the project's own conftest."""
    (tmp_path / "conftest.py").write_text(
        (ROOT / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    platform: x\n", encoding="utf-8")
    (tmp_path / "test_it.py").write_text(f"import pytest\n{test}", encoding="utf-8")
    inherited = {
        name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(
        command, env={**inherited, **environment}, capture_output=True, text=True, timeout=60
    )
    return re.sub(r" in .*", "", done.stdout.splitlines()[-1].strip("= "))


SKIPS = "def test_it(): pytest.skip('no database')\n"


def test_a_skip_is_a_failure_in_ci(tmp_path: Path) -> None:
    assert outcome(tmp_path, SKIPS, CI="true") == "1 failed"


def test_a_module_that_skips_itself_is_a_failure_in_ci(tmp_path: Path) -> None:
    assert "1 error" in outcome(tmp_path, "pytest.importorskip('no_such_module')\n", CI="true")


def test_an_expected_failure_is_a_failure_in_ci(tmp_path: Path) -> None:
    assert outcome(tmp_path, "@pytest.mark.xfail\ndef test_it(): raise OSError\n", CI="true") == "1 failed"


def test_a_test_that_the_platform_rules_out_may_skip_in_ci(tmp_path: Path) -> None:
    assert outcome(tmp_path, "@pytest.mark.platform\n" + SKIPS, CI="true") == "1 skipped"


def test_a_skip_is_a_skip_outside_ci(tmp_path: Path) -> None:
    assert outcome(tmp_path, SKIPS) == "1 skipped"
