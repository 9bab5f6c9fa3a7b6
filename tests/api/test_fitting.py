"""What is tried instead of a request that the engine refused for its form?"""

import json

import pytest

from relayd.api.fitting import Fitting
from relayd.router import Call, Problem

pytestmark = pytest.mark.pure

REFUSED = Problem(
    400, "invalid_request_error", "Unable to generate parser for this template. While executing"
)
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "read",
            "parameters": {"type": "object", "properties": {"paths": {"type": "array", "minItems": 1}}},
        },
    }
]
MESSAGES = [
    {"role": "user", "content": "a"},
    {"role": "system", "content": "late"},
    {"role": "user", "content": "b"},
]


def tried(fitting: Fitting, problem: Problem = REFUSED) -> list[tuple[bool, bool]]:
    """Return of each attempt whether its messages and whether its tools were changed."""
    body = {"messages": MESSAGES, "tools": TOOLS}
    call = Call("/v1/chat/completions", json.dumps(body).encode(), stream=False)
    found = []
    for other, change in fitting.again(call, problem):
        sent = json.loads(other.body)
        found.append((sent["messages"] != MESSAGES, sent["tools"] != TOOLS))
        assert change
    return found


def test_each_is_tried_alone_and_then_both_together() -> None:
    found = tried(Fitting())

    assert (True, False) == found[0]
    assert (False, True) in found
    assert (True, True) == found[-1]
    assert (False, False) not in found


@pytest.mark.parametrize(
    ("fitting", "expected"),
    [
        (Fitting(roles=False, calls=False), {(False, True)}),
        (Fitting(tools=False), {(True, False)}),
        (Fitting(roles=False, tools=False, calls=False), set()),
    ],
)
def test_what_is_off_is_not_tried(fitting: Fitting, expected: set[tuple[bool, bool]]) -> None:
    assert expected == set(tried(fitting))


def test_a_refusal_for_something_else_is_final() -> None:
    assert [] == tried(Fitting(), Problem(400, "invalid_request_error", "max_tokens must be positive."))
