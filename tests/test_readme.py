"""Does the README say what the program says?"""

import re
from pathlib import Path

import pytest

from relayd.api import anthropic, health, openai, rerank, responses
from relayd.errors import RelaydError
from tests.readme import README, regenerated

pytestmark = pytest.mark.pure


def test_the_generated_parts_are_current() -> None:
    text = README.read_text()

    assert regenerated(text) == text, "run: python -m tests.readme"


def test_every_error_code_is_documented() -> None:
    documented = set(re.findall(r"\| `(\w+)` \|", README.read_text()))

    assert {
        one.code for one in _all_errors(RelaydError) if one.__module__.startswith("relayd.errors")
    } <= documented


def test_every_route_is_documented() -> None:
    text = README.read_text()
    sources = (
        Path(str(module.__file__)).read_text() for module in (anthropic, health, openai, rerank, responses)
    )
    paths = {path for source in sources for path in re.findall(r'"(/[a-z0-9_/]+?)/?"', source)}

    assert {path for path in paths if path in text} == paths
    assert len(paths) > 6


def _all_errors(kind: type[RelaydError]) -> set[type[RelaydError]]:
    return {kind}.union(*(_all_errors(one) for one in kind.__subclasses__()))
