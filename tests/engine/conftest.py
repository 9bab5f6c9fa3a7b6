import json
import stat
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from relayd.engine.host import Host
from relayd.engine.installed import EngineShelf, Installed

HELP = """----- common params -----

-h,    --help, --usage                  print usage and exit
-c,    --ctx-size N                     size of the prompt context (default: 0, 0 = loaded from model)
-fa,   --flash-attn [on|off|auto]       set Flash Attention use ('on', 'off', or 'auto', default: 'auto')
-kvu,  --kv-unified, -no-kvu, --no-kv-unified
                                        use single unified KV buffer
--lora-scaled FNAME:SCALE,...           path to LoRA adapter with user defined scaling
--draft, --draft-n, --draft-max N       the argument has been removed. use --spec-draft-n-max or
                                        --spec-ngram-mod-n-max
--host HOST                             IP addresses to listen on, comma-separated, or UNIX socket paths
                                        ending in .sock
--port PORT                             port to listen (default: 8080)
--api-key-file FNAME                    path to file containing API keys
"""


class Messages:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps: list[tuple[str, float | None]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def at(self, label: str, share: float | None) -> None:
        self.steps.append((label, share))


class GitHub:
    """The part of GitHub's API that lists releases, and the files they name."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.silent = threading.Event()
        self.over = threading.Event()
        github = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if github.silent.is_set():
                    github.over.wait()
                body = github.pages.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def publish(self, where: str, tag: str, assets: dict[str, bytes], digests: dict[str, str]) -> None:
        """List a release at `/releases/WHERE` with files of these names and digests."""
        listed = []
        for name, content in assets.items():
            self.pages[f"/{tag}/{name}"] = content
            listed.append(
                {
                    "name": name,
                    "browser_download_url": f"{self.url}/{tag}/{name}",
                    "size": len(content),
                    "digest": digests.get(name),
                }
            )
        self.pages[f"/releases/{where}"] = json.dumps({"tag_name": tag, "assets": listed, "id": 1}).encode()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def github() -> Iterator[GitHub]:
    site = GitHub()
    yield site
    site.close()


@pytest.fixture
def messages() -> Messages:
    return Messages()


@pytest.fixture
def host() -> Host:
    return Host(system="linux", machine="x64", cpu_key="0123abcd", cores=2, memory=16 << 30)


@pytest.fixture
def shelf(tmp_path: Path) -> EngineShelf:
    return EngineShelf(tmp_path / "engines", "0123abcd")


@pytest.fixture
def engine_text() -> str:
    """A program that answers `--version` and `--help` as llama-server does."""
    version = 'echo "version: 6895 (4341dc8bc)" >&2'
    return f"#!/bin/sh\ncase $1 in\n--version) {version} ;;\n--help) /bin/cat <<'END'\n{HELP}END\n;;\nesac\n"


@pytest.fixture
def engine_file(engine_text: str) -> Callable[[Path], Path]:
    """Write such a program."""

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(engine_text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return write


@pytest.fixture
def put(shelf: EngineShelf, engine_file: Callable[[Path], Path]) -> Callable[..., Installed]:
    """Install such a program as an engine."""
    count = 0

    def install(name: str, **values: Any) -> Installed:
        nonlocal count
        count += 1
        shelf.root.mkdir(exist_ok=True)
        with shelf.staging() as staging:
            engine_file(staging / "bin/llama-server")
            fields: dict[str, Any] = {"version": "b1", "build": 1, "backend": "cpu", "cpu": shelf.cpu}
            fields |= {"source": "build", "origin": "here", "sha256": "", "installed_at": float(count)}
            return shelf.add(staging, Installed(id=name, **(fields | values)))

    return install
