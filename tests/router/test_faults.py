"""Whose fault an engine's refusal is."""

import pytest

from relayd.router.dialect import Problem
from relayd.router.faults import Fault, as_client_error, judge

pytestmark = pytest.mark.pure


def refused(message: str, status: int = 500) -> Problem:
    return Problem(status, "server_error", message, kind="server_error")


@pytest.mark.parametrize(
    "message",
    [
        "Failed to parse messages: Missing 'role' in message: {}",
        "Failed to parse tools: Expected 'tools' to be an array, got {}; tools = {}",
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "input (900 tokens) is too large to process. increase the physical batch size",
        "the current context does not support logits computation. skipping",
        "failed to get embeddings, the question and its options must fit in one batch",
        "Cannot use both json_schema and grammar",
        "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/...",
        "Only no echo is supported",
        "got exception: Unexpected empty grammar stack after accepting piece: x (7)",
        "map::at",
        "what a later engine may say",
    ],
)
def test_what_fails_while_a_request_is_read_is_the_requests_fault(message: str) -> None:
    assert Fault.REQUEST is judge(refused(message))


@pytest.mark.parametrize(
    "message",
    [
        "Compute error.",
        "Context size has been exceeded.",
        "decode() failed: vk::Queue::submit: ErrorDeviceLost",
        "got exception: speculative batch index 3 is not inside the current sub-batch [0, 2)",
        "failed to get embeddings",
        "failed to process mtmd chunk",
        "unknown error",
        "",
    ],
)
def test_what_fails_in_the_inference_loop_is_the_replicas_fault(message: str) -> None:
    assert Fault.REPLICA is judge(refused(message))


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateways_errors_are_not_the_requests_fault(status: int) -> None:
    assert Fault.REPLICA is judge(refused("upstream", status))


@pytest.mark.parametrize(
    "message",
    [
        "The model produced output that does not match the expected Hermes 2 Pro format",
    ],
)
def test_what_a_model_wrote_is_neithers_fault(message: str) -> None:
    assert Fault.ANSWER is judge(refused(message))


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize(
    "message",
    ["std::bad_alloc", "decode() failed: std::bad_alloc", "Failed to initialize samplers: std::bad_alloc"],
)
def test_an_allocation_that_failed_concerns_the_replica_at_any_status(message: str, status: int) -> None:
    assert Fault.MEMORY is judge(refused(message, status))


@pytest.mark.parametrize("status", [400, 404, 413, 501])
def test_other_statuses_are_the_requests_fault_and_keep_their_shape(status: int) -> None:
    problem = refused("why", status)

    assert Fault.REQUEST is judge(problem)
    assert problem is as_client_error(problem)


def test_a_clients_mistake_is_a_client_error() -> None:
    problem = as_client_error(refused("Missing 'role'"))

    assert (400, "invalid_request_error", "Missing 'role'") == (problem.status, problem.kind, problem.message)


def test_an_input_that_no_batch_holds_is_named_as_too_long() -> None:
    message = "input (900 tokens) is too large to process. increase the physical batch size (current: 512)"

    assert "exceed_context_size_error" == as_client_error(refused(message)).kind


@pytest.mark.parametrize(
    ("status", "said", "reads"),
    [
        (501, "This server does not support embeddings. Start it with `--embeddings`", "embeddings = true"),
        (
            501,
            "This server does not support reranking. Start it with `--reranking`",
            "does not rank documents",
        ),
        (501, "This server does not support props. Start it with `--props`", "props. An operator"),
        (500, "the current context does not support logits computation. skipping", "writes no text"),
        (
            500,
            "image input is not supported - hint: if this is unexpected, provide the mmproj",
            "no image input",
        ),
        (500, "tools param requires --jinja flag", "without its chat template, which tools needs"),
        (
            500,
            (
                "input (900 tokens) is too large to process. increase the physical batch size "
                "(current batch size: 512)"
            ),
            "(900 tokens) is too large: this model takes at most 512",
        ),
        (
            400,
            "request (900 tokens) exceeds the available context size (512 tokens), try increasing it",
            "(900 tokens) exceeds the available context size (512 tokens)",
        ),
        (
            500,
            "got exception: Unexpected empty grammar stack after accepting piece: \n (7)",
            "some text can follow",
        ),
    ],
)
def test_a_clients_mistake_names_what_can_be_done_here_and_no_flag(
    status: int, said: str, reads: str
) -> None:
    problem = as_client_error(refused(said, status))

    assert reads in problem.message
    assert "--" not in problem.message
    assert (400 if status == 500 else status) == problem.status
