"""Is what CI and users run pinned, bounded and audited?"""

import re
import tomllib

import pytest

from tests.sources import ROOT

pytestmark = pytest.mark.pure

MOST_DEPENDENCIES = 12
_USES = re.compile(r"^\s*-?\s*uses:\s*(\S+)", re.MULTILINE)
_PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def test_r63_every_ci_action_is_pinned_by_its_commit() -> None:
    used = [
        name
        for file in (ROOT / ".github" / "workflows").glob("*.yml")
        for name in _USES.findall(file.read_text("utf-8"))
    ]

    assert used
    assert [] == [name for name in used if not _PINNED.fullmatch(name)]


def test_r63_dependencies_are_few_and_each_has_a_reason_and_a_lower_bound() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    dependencies = tomllib.loads(text)["project"]["dependencies"]

    assert len(dependencies) <= MOST_DEPENDENCIES
    for one in dependencies:
        assert ">=" in one, f"{one} has no lower bound"
        before = text[: text.index(f'"{one}"')].splitlines()
        assert before[-2].strip().startswith("#"), f"{one} has no reason above it"


def test_r63_the_check_audits_dependencies() -> None:
    assert "pip_audit" in (ROOT / ".ci" / "run").read_text("utf-8")
