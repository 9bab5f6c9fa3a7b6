"""Clients of the batch server of the fakes, and the text of their results."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relayd.batch import BatchRequest, RelayClient
from tests.fakes.batch_api import BatchServer, batch_server

PROVIDERS = ("relayd", "openai", "together", "anthropic")


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with batch_server() as serving:
        yield serving


def client_of(server: BatchServer, folder: Path, **environ: str) -> RelayClient:
    """Return a client whose environment names the server for every provider."""
    variables = {
        **{f"{name}_BASE_URL": f"{server.url}/v1" for name in ("RELAYD", "OPENAI", "TOGETHER")},
        "ANTHROPIC_BASE_URL": server.url,
        **{f"{name.upper()}_API_KEY": f"key of {name}" for name in PROVIDERS},
        **environ,
    }
    return RelayClient(folder, environ=variables, pause=lambda _: None)


def asked(*prompts: str) -> list[BatchRequest]:
    return [
        BatchRequest(f"req-{number}", "m", "You are brief.", prompt)
        for number, prompt in enumerate(prompts, 1)
    ]


def text_of(result: dict[str, Any]) -> str:
    """Return the text of a result in the form of any provider."""
    if "result" in result:
        return str(result["result"]["message"]["content"][0]["text"])
    body = result["response"]["body"]
    if "output" in body:
        return str(body["output"][0]["content"][0]["text"])
    return str(body["choices"][0]["message"]["content"])
