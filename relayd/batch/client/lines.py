"""Requests of a batch as each API spells them (pure)."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from relayd.batch.client.values import BatchRequest
from relayd.errors import BatchJobError

RESPONSES = "/v1/responses"
CHAT = "/v1/chat/completions"

MESSAGE_TOKENS = 4096
"""Most tokens of an answer where the Messages API requires a number and the request has none."""

LEAST_THINKING_TOKENS = 1024
"""The smallest budget that the Messages API takes."""


def checked(requests: Iterable[BatchRequest]) -> list[BatchRequest]:
    """Return the requests.

    Raises:
        BatchJobError: There is none, or one has no id, or the id of another.
    """
    found = list(requests)
    if not found:
        raise BatchJobError("a batch needs at least one request")
    seen = dict[str, int]()
    for number, request in enumerate(found, 1):
        if not request.id:
            raise BatchJobError(f"request {number} has the id {request.id!r}, which is not a name")
        if request.id in seen:
            raise BatchJobError(
                f"request {number} has the id {request.id!r} of request {seen[request.id]}",
                remedy="Results are found by it: give each request an id of its own.",
            )
        seen[request.id] = number
    return found


def json_line(document: Mapping[str, Any]) -> bytes:
    """Return a document as a line of a file."""
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def batch_line(request: BatchRequest, endpoint: str) -> dict[str, Any]:
    """Return a request as a line of a file for `/v1/batches`."""
    body = responses_body(request) if endpoint == RESPONSES else chat_body(request)
    return {"custom_id": request.id, "method": "POST", "url": endpoint, "body": body}


def responses_body(request: BatchRequest) -> dict[str, Any]:
    """Return the body for the Responses API."""
    body: dict[str, Any] = {"input": request.prompt, "model": request.model}
    if request.system_prompt:
        body["instructions"] = request.system_prompt
    if request.max_tokens is not None:
        body["max_output_tokens"] = request.max_tokens
    for name, value in request.provider_args.items():
        if name == "reasoning_effort":
            body["reasoning"] = {**body.get("reasoning", {}), "effort": value}
        else:
            body["max_output_tokens" if name == "max_tokens" else name] = value
    return body


def chat_body(request: BatchRequest) -> dict[str, Any]:
    """Return the body for chat completions."""
    system = [{"role": "system", "content": request.system_prompt}] if request.system_prompt else []
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [*system, {"role": "user", "content": request.prompt}],
    }
    if request.max_tokens is not None:
        body["max_tokens"] = request.max_tokens
    for name, value in request.provider_args.items():
        body["max_tokens" if name == "max_output_tokens" else name] = value
    return body


def message_params(request: BatchRequest) -> dict[str, Any]:
    """Return the parameters for the Messages API, which requires `max_tokens`.

    Raises:
        BatchJobError: The budget for thinking is too small for the API.
    """
    params: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": [{"role": "user", "content": request.prompt}],
    }
    if request.system_prompt:
        params["system"] = request.system_prompt
    budget = 0
    for name, value in request.provider_args.items():
        if name == "thinking_budget_tokens":
            budget = _budget(request.id, value)
            params["thinking"] = {"type": "enabled", "budget_tokens": budget}
        else:
            params[name] = value
    if params["max_tokens"] is None:
        params["max_tokens"] = budget + MESSAGE_TOKENS
    return params


def _budget(request: str, value: object) -> int:
    if isinstance(value, int) and value >= LEAST_THINKING_TOKENS:
        return value
    raise BatchJobError(
        f"request {request!r}: thinking_budget_tokens is {value!r}",
        remedy=f"Give a number from {LEAST_THINKING_TOKENS} on, or leave it out.",
    )
