"""The prompt of a continuation is compared with the one that was answered."""

import json

import pytest

from relayd.router.continuationprobe import Beginning, continuation_probes

pytestmark = pytest.mark.pure

PROBES = {one.name: one for one in continuation_probes()}


def test_each_case_is_asked_with_and_without_tools() -> None:
    cases = "in reasoning", "after reasoning", "content only"

    assert [*cases, *(f"{case}, with tools" for case in cases)] == [*PROBES]
    for name, probe in PROBES.items():
        before, after = json.loads(probe.before), json.loads(probe.after)
        assert ("tools" in before, "tools" in after) == (("tools" in name),) * 2
        assert after["messages"][:-1] == before["messages"]


@pytest.mark.parametrize(
    ("case", "after", "expected"),
    [
        ("content only", "<u>Why?<a>The answer", Beginning.SAME),
        ("content only", "<u>Why?<a><think></think>The answer", Beginning.INSERTS),
        ("content only", "<u>Why?<b>The answer", Beginning.DIFFERS),
        ("content only", "<u>Why?<a>", Beginning.DIFFERS),
        ("in reasoning", "<u>Why?<a><think>First of all", Beginning.SAME),
        ("after reasoning", "<u>Why?<a>The answer", Beginning.DIFFERS),
        ("content only", None, Beginning.NOT_CONTINUED),
    ],
)
def test_a_prompt_is_judged_by_what_it_begins_with(case: str, after: str | None, expected: Beginning) -> None:
    assert expected is PROBES[case].compare("<u>Why?<a>", after)[0]


def test_what_is_not_rendered_at_all_cannot_be_continued() -> None:
    assert (Beginning.NOT_RENDERED, "") == PROBES["in reasoning"].compare(None, "any")
