"""Does an error reach a client in OpenAI's shape, with status, type and remedy?"""

import json

import pytest

from relayd import errors
from relayd.api.errors import error_answer
from relayd.api.openai import OPENAI, error_body, error_type
from relayd.errors import (
    ContextExceededError,
    ModelNotFoundError,
    QueueFullError,
    RelaydError,
    UnauthorizedError,
)
from relayd.router import Problem

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"),
        (404, "not_found_error"), (405, "invalid_request_error"), (408, "invalid_request_error"),
        (413, "invalid_request_error"), (421, "invalid_request_error"), (429, "rate_limit_error"),
        (500, "server_error"), (502, "server_error"), (503, "unavailable_error"), (504, "server_error"),
    ],
)  # fmt: skip
def test_the_type_follows_the_status(status: int, expected: str) -> None:
    assert expected == error_type(status)


def test_the_message_ends_with_the_remedy() -> None:
    error = ModelNotFoundError("There is no model 'x'.", remedy="Available: y.", param="model")

    assert {
        "error": {
            "message": "There is no model 'x'. Available: y.",
            "type": "not_found_error",
            "code": "model_not_found",
            "param": "model",
        }
    } == json.loads(error_body(Problem.of(error)))


OPENAI_CODES: dict[type[RelaydError], str] = {ContextExceededError: "context_length_exceeded"}
"""Errors for which OpenAI's clients know a code of its own."""

KINDS = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, RelaydError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_an_answer(kind: type[RelaydError]) -> None:
    answer = error_answer(kind("what failed"), OPENAI)

    assert kind.http_status == answer.status
    assert isinstance(answer.body, bytes)
    expected = OPENAI_CODES.get(kind, kind.code)
    assert expected == json.loads(answer.body)["error"]["code"]


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, "1"), (0.2, "1"), (2.1, "3"), (60, "60")])
def test_retry_after_is_whole_seconds_and_never_none(seconds: float, expected: str) -> None:
    assert (
        expected
        == error_answer(QueueFullError("full", retry_after_seconds=seconds), OPENAI).fields["Retry-After"]
    )


def test_a_401_names_the_scheme() -> None:
    assert "Bearer" == error_answer(UnauthorizedError("no"), OPENAI).fields["WWW-Authenticate"]
