"""Does the real engine live through what the limits let pass, and answer it in bounded time and memory?"""

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.engine import Engine
from relayd.router import LLAMA_SERVER, peek
from relayd.units import MIB
from tests.daemons import DEADLINE_SECONDS

pytestmark = pytest.mark.real

SENT = [
    (path, body)
    for path, body in json.loads((Path(__file__).parents[1] / "data" / "sent_bodies.json").read_text())
    if not path.endswith(("embeddings", "rerank", "infill"))
]

MOST_GROWTH = 256 * MIB
"""What the engine may take for one request at the limits; measured are 75 MiB and less."""


def strings(count: int, length: int = 0) -> dict[str, object]:
    return {f"p{n}": {"type": "string", **({"maxLength": length} if length else {})} for n in range(count)}


def answer_by(schema: dict[str, object]) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "a"}], "max_tokens": 2} | {
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}
    }


def chained(references: int) -> dict[str, object]:
    links = {f"d{n}": {"properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(references)}
    return {"$defs": {**links, f"d{references}": {"type": "string"}}, "$ref": "#/$defs/d0"}


def grammar(text: str) -> dict[str, object]:
    return {"prompt": "a", "n_predict": 2, "grammar": text}


AT_THE_LIMIT = {
    "95 words": grammar("root ::= " + " | ".join(f'"{n}"' for n in range(95))),
    "90 optional characters": grammar("root ::= " + '"a"? ' * 90),
    "190,000 elements": grammar(f'root ::= "{"a" * 1900}"{{100}}'),
    "a chain of 250": grammar(
        "\n".join(f"{n} ::= {n + 1}" for n in range(248)) + '\n248 ::= "a"\nroot ::= 1'
    ),
    "100 parentheses": grammar("root ::= " + "(" * 99 + '"a"' + ")" * 99),
    "256 optional properties": answer_by({"type": "object", "properties": strings(256)}),
    "an enum of 500": answer_by({"enum": [f"value {n}" for n in range(500)]}),
    "90 long strings": answer_by({"type": "object", "properties": strings(90, 2_000), "required": ["p1"]}),
    "500 references": answer_by(chained(499)),
    "penalties": {"prompt": "a", "n_predict": 2, "repeat_last_n": 262_144, "repeat_penalty": 1.1}
    | {"dry_multiplier": 0.8, "dry_penalty_last_n": 262_144, "dry_sequence_breakers": ["a" * 64] * 64},
    "stops and biases": {"prompt": "a", "n_predict": 2, "stop": ["x" * 1_024] * 256}
    | {"logit_bias": [["hello " * 10, 1.0]] * 4_096},
}


class Served:
    """An engine with the small stack that relayd gives it, and one connection a request."""

    def __init__(self, process: "subprocess.Popen[bytes]", path: Path) -> None:
        self.process = process
        self._path = str(path)

    def ask(self, path: str, body: bytes, method: str = "POST") -> int:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE_SECONDS)
            connection.connect(self._path)
            head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return response.status

    def resident(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * 4096


@pytest.fixture(scope="module")
def served(engine: Engine, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("e")
    flags = "--host r.sock -t 1 -np 1 -c 2048 --cache-ram 0 --no-ui"
    stack = f"--stack={2 * MIB}:unlimited"
    limited = ["prlimit", stack, str(engine.path), "-m", str(tiny_model), *flags.split()]
    with subprocess.Popen(limited, cwd=folder, stderr=subprocess.DEVNULL) as process:
        found = Served(process, folder / "r.sock")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            try:
                if found.ask("/health", b"", "GET") == 200:
                    break
            except OSError:
                process.poll()
        yield found
        process.kill()


@pytest.mark.parametrize("name", AT_THE_LIMIT)
def test_the_engine_answers_what_is_at_a_limit(served: Served, name: str) -> None:
    body = AT_THE_LIMIT[name]
    path = "/v1/chat/completions" if "messages" in body else "/completion"
    raw = json.dumps(body).encode()
    before = served.resident()

    assert raw == peek(raw, LLAMA_SERVER[path]).body
    assert 200 == served.ask(path, raw)
    assert served.process.poll() is None
    assert MOST_GROWTH > served.resident() - before


@pytest.mark.parametrize(("path", "body"), SENT)
def test_the_engine_answers_what_clients_send(served: Served, path: str, body: dict[str, object]) -> None:
    raw = json.dumps(body | {"max_tokens": 1, "n_predict": 1, "max_output_tokens": 1}).encode()

    assert 200 <= served.ask(path, raw) <= 500
    assert served.process.poll() is None
