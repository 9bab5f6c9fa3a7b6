"""Stream one answer from an OpenAI address, with the standard library only.

    python extras/streaming_chat.py PROMPT [REQUEST_ID]

RELAYD_URL is the address (http://127.0.0.1:8080), RELAYD_API_KEY the key where one is set, RELAYD_MODEL the
model (the one that the server takes by itself). The answer goes to standard output as it comes; the id of the
request, the replica and the tokens go to standard error. Exit status: 0 a whole answer, 1 a refusal or a cut
answer, 2 usage.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from typing import Any

PATIENCE_SECONDS = 600.0
"""Longest silence: a long prompt is read first."""


def ask(prompt: str, request_id: str = "") -> HTTPResponse:
    """Send a prompt, and return the answer, of which only the head has come."""
    url = os.environ.get("RELAYD_URL", "http://127.0.0.1:8080").rstrip("/")
    body: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}], "stream": True}
    body |= {"model": model} if (model := os.environ.get("RELAYD_MODEL")) else {}
    headers = {"Content-Type": "application/json"}
    headers |= {"X-Request-ID": request_id} if request_id else {}
    headers |= {"Authorization": f"Bearer {key}"} if (key := os.environ.get("RELAYD_API_KEY")) else {}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)  # noqa: S310 - the person's own address
    answer: HTTPResponse = urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)  # noqa: S310 - as above
    return answer


def events(answer: HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield each event of a stream, up to its `[DONE]`.

    Raises:
        ConnectionError: The stream holds an error, or ends without its end.
    """
    for line in answer:
        if line.startswith(b"data: "):
            data = line.removeprefix(b"data: ").strip()
            if data == b"[DONE]":
                return
            event = json.loads(data)
            if "error" in event:
                raise ConnectionError(event["error"].get("message", "the answer failed"))
            yield event
    raise ConnectionError("the answer ended before its last event")


def show(answer: HTTPResponse) -> None:
    """Print an answer as it comes, and then what is known of it."""
    tokens = 0
    for event in events(answer):
        tokens = (event.get("timings") or {}).get("predicted_n", tokens)
        for choice in event.get("choices", []):
            delta = choice.get("delta", {})
            print(delta.get("reasoning_content") or delta.get("content") or "", end="", flush=True)
    print()
    facts = [answer.headers.get(name, "") for name in ("X-Request-ID", "X-Relayd-Replica")]
    print(f"[request {facts[0] or '-'}, replica {facts[1] or '-'}, {tokens} tokens]", file=sys.stderr)


def refusal(error: urllib.error.HTTPError) -> str:
    """Return why a request was refused, in the server's words."""
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(error)


def main(arguments: list[str]) -> int:
    """Send the prompt of the command line, and return the exit status."""
    if len(arguments) not in {1, 2}:
        print("usage: streaming_chat.py PROMPT [REQUEST_ID]", file=sys.stderr)
        return 2
    try:
        show(ask(*arguments))
    except urllib.error.HTTPError as error:
        print(f"refused: {refusal(error)}", file=sys.stderr)
        return 1
    except (OSError, HTTPException, ValueError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
