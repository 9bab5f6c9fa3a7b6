"""How many tokens may an answer have, where its model limits that?"""

import json

import pytest

from relayd.router import TokenLimit

pytestmark = pytest.mark.pure

CHAT, NATIVE = "/v1/chat/completions", "/completion"


def applied(limit: TokenLimit, path: str, **members: object) -> tuple[dict[str, object], bool]:
    body, is_lowered = limit.apply(path, json.dumps(members).encode())
    return json.loads(body), is_lowered


@pytest.mark.parametrize(
    ("default", "most", "expected"), [(100, 0, 100), (0, 50, 50), (100, 50, 50), (50, 100, 50)]
)
def test_a_request_that_names_no_number_gets_the_default_within_the_limit(
    default: int, most: int, expected: int
) -> None:
    limit = TokenLimit(default, most)

    assert ({"messages": [], "max_tokens": expected}, False) == applied(limit, CHAT, messages=[])
    assert ({"n_predict": expected}, False) == applied(limit, NATIVE)
    assert ({"max_tokens": expected}, False) == applied(limit, CHAT, max_tokens=None)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n_predict"])
@pytest.mark.parametrize(("asked", "expected"), [(10, 10), (64, 64), (65, 64), (1e6, 64), (-1, 64), (0, 0)])
def test_a_number_above_the_limit_is_lowered_under_each_of_its_names(
    name: str, asked: float, expected: int
) -> None:
    body, is_lowered = applied(TokenLimit(8, 64), CHAT, **{name: asked})

    assert {name: expected} == body
    assert is_lowered is (asked != expected)


def test_each_of_two_numbers_is_within_the_limit() -> None:
    asked = {"max_tokens": 10, "max_completion_tokens": 900}

    assert ({"max_tokens": 10, "max_completion_tokens": 64}, True) == applied(
        TokenLimit(0, 64), CHAT, **asked
    )


def test_a_body_that_needs_no_change_is_the_same_bytes() -> None:
    body = b'{ "max_tokens" : 5 }'

    assert (body, False) == TokenLimit(8, 64).apply(CHAT, body)
    assert (b'{"input":"x"}', False) == TokenLimit(8, 64).apply("/v1/embeddings", b'{"input":"x"}')
    assert (b"{}", False) == TokenLimit().apply(CHAT, b"{}")
    assert ({"max_tokens": 900}, False) == applied(TokenLimit(8), CHAT, max_tokens=900)
