"""A program that passes for llama-server and has the faults a real one cannot be made to have.

It is started like the real one. `--fault a,b=2` among the model's `args` says what is wrong with it:

    load=S       loads for S seconds, and something moves meanwhile
    hold         loads until the file MODEL.go is there, and something moves meanwhile
    stall        loads for ever, and nothing moves
    mute         listens on nothing
    ignore-term  SIGTERM does nothing
    trap=S       takes S seconds to end after SIGTERM, and says when it has
    exit=CODE    ends by itself, `after=S` seconds from its start
    oom          ends for want of device memory, unless it has one slot
    impostor     answers 200 to everybody and everything
    wedge        answers /health, and never a request
    prefill=S    reads the prompt for S seconds before the first byte
    poison=WORD  aborts when a request holds the word
    fork         is a wrapper: a child of it serves
    grandchild   leaves a process in a session of its own behind
    lives=N      only the first N lives have these faults
"""

import argparse
import json
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

HELP = """usage: llama-server [options]
-m,    --model FNAME      model path to load
-a,    --alias STRING     set alias for model name
-np,   --parallel N       number of server slots
-c,    --ctx-size N       size of the prompt context
-t,    --threads N        number of threads
-cram, --cache-ram N      host memory for prompts
--embedding, --embeddings restrict to embeddings
--host HOST               IP addresses to listen on, or UNIX socket paths ending in .sock
--port PORT               port to listen
--api-key-file FNAME      path to file containing API keys
--metrics                 enable prometheus compatible metrics endpoint
--slots                   expose slots monitoring endpoint
"""
VERSION = "version: 0.6.0-fake (build 0, commit unknown)"
BEGAN = time.monotonic()


def say(text: str) -> None:
    """Write a line of log as the engine does, in one piece."""
    microseconds = int((time.monotonic() - BEGAN) * 1e6)
    minutes, rest = divmod(microseconds, 60_000_000)
    stamp = f"{minutes}.{rest // 1_000_000:02}.{rest // 1000 % 1000:03}.{rest % 1000:03}"
    os.write(1, f"{stamp} I srv  fake: {text}\n".encode())


class Engine:
    """What the requests share."""

    def __init__(self, key: str, slots: int, faults: dict[str, str], go: Path) -> None:
        self.key = key
        self.go = go
        self.slots = slots
        self.faults = faults
        self.ready_at = BEGAN + float(faults.get("load", 0))
        self.decodes = 0
        self.prompt_tokens = 0
        self.processing = 0

    @property
    def loading(self) -> bool:
        held = "hold" in self.faults and not self.go.exists()
        return held or "stall" in self.faults or time.monotonic() < self.ready_at


class Handler(BaseHTTPRequestHandler):
    """Answers as llama-server does."""

    protocol_version = "HTTP/1.1"
    engine: Engine

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        known = self.headers.get("Authorization") == f"Bearer {self.engine.key}"
        if "stall" not in self.engine.faults:
            say(f"GET {path} {'with' if known else 'without'} the key")
        if "impostor" in self.engine.faults:
            self.answer(200, {"status": "ok"})
        elif self.engine.loading:
            self.answer(
                503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
            )
        elif path == "/health":
            self.answer(200, {"status": "ok"})
        elif not known:
            self.answer(401, {"error": {"code": 401, "message": "Invalid API Key"}})
        elif path == "/metrics":
            self.answer_metrics()
        elif path == "/slots":
            busy = self.engine.processing
            self.answer(200, [{"id": n, "is_processing": n < busy} for n in range(self.engine.slots)])
        else:
            self.answer(200, {"total_slots": self.engine.slots})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        say(f"POST {self.path} {len(body)} bytes")
        if (poison := self.engine.faults.get("poison")) and poison.encode() in body:
            os.abort()
        if "impostor" in self.engine.faults:
            self.answer(200, {"stolen": True})
            return
        self.engine.processing += 1
        try:
            self.generate(json.loads(body))
        finally:
            self.engine.processing -= 1

    def generate(self, asked: dict[str, Any]) -> None:
        """Answer with as many tokens as were asked for."""
        if "wedge" in self.engine.faults:
            threading.Event().wait()
        reads_until = time.monotonic() + float(self.engine.faults.get("prefill", 0))
        while time.monotonic() < reads_until:
            self.engine.prompt_tokens += 512
            threading.Event().wait(0.02)
        count = int(asked.get("max_tokens", 1))
        if not asked.get("stream"):
            self.engine.decodes += count
            self.answer(200, {"choices": [{"text": "x " * count, "finish_reason": "length"}]})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(count):
            threading.Event().wait(0.005)
            self.engine.decodes += 1
            self.chunk(f"data: {json.dumps({'choices': [{'text': 'x '}]})}\n\n")
        self.chunk("data: [DONE]\n\n")
        self.chunk("")

    def chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())

    def answer_metrics(self) -> None:
        figures = {"n_decode_total": self.engine.decodes, "prompt_tokens_total": self.engine.prompt_tokens}
        text = "".join(f"llamacpp:{name} {value}\n" for name, value in figures.items())
        self.send(200, "text/plain", text.encode())

    def answer(self, status: int, value: object) -> None:
        self.send(status, "application/json", json.dumps(value).encode())

    def send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the library
        """Stay silent: `say` writes the log."""


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens on a socket file or a port, without looking up names."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str, port: int) -> None:
        unix = host.endswith(".sock")
        self.address_family = socket.AF_UNIX if unix else socket.AF_INET
        super().__init__(host if unix else (host, port), Handler)  # type: ignore[arg-type]  # a path, for AF_UNIX

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, _ = self.socket.accept()
        return connection, ("local", 0)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is no error."""


def read_faults(text: str, lives: Path) -> dict[str, str]:
    """Return what is wrong with this life, and count it."""
    faults = {name: value for name, _, value in (fault.partition("=") for fault in text.split(","))}
    life = 1 + (int(lives.read_text()) if lives.exists() else 0)
    lives.write_text(str(life))
    return {} if life > int(faults.get("lives", life)) else faults


def heed(faults: dict[str, str]) -> None:
    """Have the faults that need no request."""
    if "ignore-term" in faults:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "trap" in faults:
        signal.signal(signal.SIGTERM, lambda *_: end_slowly(float(faults["trap"])))
    if "grandchild" in faults and os.fork() == 0:
        os.setsid()
        signal.pause()
    if "fork" in faults and (child := os.fork()):
        os.waitpid(child, 0)
        os._exit(0)
    if "exit" in faults:
        timer = threading.Timer(float(faults.get("after", 0)), os._exit, [int(faults["exit"])])
        timer.daemon = True
        timer.start()


def end_slowly(seconds: float) -> None:
    threading.Event().wait(seconds)
    say("trap finished")
    os._exit(0)


def main() -> None:
    """Be a llama-server."""
    if "--version" in sys.argv:
        print(VERSION)  # noqa: T201 - what the program is asked for
        return
    if "--help" in sys.argv:
        print(HELP)  # noqa: T201 - what the program is asked for
        return
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag in ("--model", "--host", "--api-key-file"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--fault", default="")
    told, _ = parser.parse_known_args()
    replica = os.environ.get("RELAYD_REPLICA", "").replace("/", "_")
    faults = read_faults(told.fault, Path(f"{told.model}.{replica}.lives"))
    say(f"faults: {faults}")
    if "oom" in faults and told.parallel > 1:
        say("allocating 9000.00 MiB on device 0: cudaMalloc failed: out of memory")
        say("exiting due to model loading error")
        sys.exit(1)
    heed(faults)
    if "mute" in faults:
        signal.pause()
    key, go = Path(told.api_key_file).read_text().strip(), Path(f"{told.model}.go")
    engine = Handler.engine = Engine(key, told.parallel, faults, go)
    with Server(told.host, told.port) as server:
        say(f"listening on {told.host}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 3600}, daemon=True).start()
        while engine.loading:
            if "stall" in faults:
                signal.pause()
            threading.Event().wait(0.05)
            say("loading goes on")
        signal.pause()


if __name__ == "__main__":
    main()
