"""What relayd says to bad input: which value, what to do, and nothing is lost."""

import http.client
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.engine import Engine
from tests.daemons import DEADLINE_SECONDS, Daemon, home_environ, run_relayd
from tests.ggufs import TINY, make_model

pytestmark = pytest.mark.real


@pytest.fixture
def serve(engine: Engine, home: Path) -> Callable[..., tuple[int, str]]:
    """Run `relayd serve` with arguments that must fail; return exit status and words."""

    def run(*arguments: str, **environ: str) -> tuple[int, str]:
        surroundings = home_environ(home) | {"LLAMA_SERVER_PATH": str(engine.path)} | environ
        done = run_relayd(surroundings, home, "serve", *arguments)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    return run


def test_a_missing_model_file(serve: Callable[..., tuple[int, str]], home: Path) -> None:
    (home / "there.gguf").write_bytes(b"GGUF")
    status, words = serve("./thre.gguf")

    assert 2 == status
    assert "thre.gguf does not exist" in words
    assert "there.gguf" in words


def test_a_folder_is_no_model(serve: Callable[..., tuple[int, str]], home: Path) -> None:
    status, words = serve(str(home))

    assert 2 == status
    assert f"{home} is a folder, not a model\n  Name a .gguf file in it" in words


def test_an_unknown_key_names_line_and_nearest(serve: Callable[..., tuple[int, str]], home: Path) -> None:
    config = home / "relay.toml"
    config.write_text("[server]\n\nlistne = '127.0.0.1:8080'\n")
    status, words = serve("--config", str(config))

    assert 2 == status
    assert f'{config}:3: unknown key "listne"' in words
    assert 'did you mean "listen"' in words


def test_a_port_that_is_taken_names_who_holds_it(serve: Callable[..., tuple[int, str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, words = serve("--demo", "--listen", f"127.0.0.1:{port}")

    assert 1 == status
    assert f"127.0.0.1:{port}" in words
    assert "pid" in words


def test_a_door_open_to_others_needs_a_key(serve: Callable[..., tuple[int, str]]) -> None:
    status, words = serve("--demo", "--listen", "0.0.0.0:8080")

    assert 2 == status
    for remedy in ("RELAYD_API_KEY", "--listen 127.0.0.1:8080", "--insecure-bind"):
        assert remedy in words


def test_a_reserved_engine_flag_is_refused(serve: Callable[..., tuple[int, str]], home: Path) -> None:
    config = home / "relay.toml"
    model = home / "m.gguf"
    model.write_bytes(b"GGUF")
    config.write_text(f'[[model]]\nname = "m"\nfile = "{model}"\nargs = ["--host=0.0.0.0"]\n')
    status, words = serve("--config", str(config))

    assert 2 == status
    assert "--host" in words


def test_an_engine_that_does_not_exist_is_named(serve: Callable[..., tuple[int, str]]) -> None:
    status, words = serve("--demo", "--llama-server", "/nowhere/llama-server")

    assert 1 == status
    assert "/nowhere/llama-server" in words


def test_a_truncated_model_that_is_named_is_refused(
    serve: Callable[..., tuple[int, str]], home: Path, tiny_model: Path
) -> None:
    (home / "short.gguf").write_bytes(tiny_model.read_bytes()[:40_000])
    status, words = serve("short.gguf")
    assert 2 == status
    assert "It is cut short or damaged. Fetch it again." in words


def test_a_truncated_model_of_a_line_is_given_up_with_the_engines_words(
    start_daemon: Callable[..., Daemon], home: Path, tiny_model: Path
) -> None:
    short = home / "short.gguf"
    short.write_bytes(tiny_model.read_bytes()[:40_000])
    daemon = start_daemon(f'[[model]]\nname = "short"\nfile = "{short}"\n', wait=False)
    event = daemon.await_event("replica")

    assert "fatal" == event["state"]
    assert "file bounds" in event["message"]
    assert 503 == request(daemon, b'{"model": "short", "prompt": "x"}')[0]
    shown, anew = (" ".join(daemon.run("plan", *more).stdout.split()) for more in ((), ("--fresh",)))
    assert "Note: short is given up (" in shown
    assert "holds no memory: relayd start short tries it again" in shown
    assert "is given up" not in anew


def test_a_chat_template_the_engine_cannot_read_is_named_with_the_remedy_which_helps(
    start_daemon: Callable[..., Daemon], home: Path
) -> None:
    file = make_model(home / "t.gguf", replace(TINY, template="{% bogus %}{{ messages }}"))
    line = f'[[model]]\nfile = "{file}"\n'
    mended = 'name = "mended"\nargs = ["--chat-template", "chatml"]\n'
    daemon = start_daemon(line + 'name = "odd"\n' + line + mended)
    body = b'{"model": "%s", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}'
    status, error = request(daemon, body % b"odd", "/v1/chat/completions")
    shown = " ".join(daemon.run("status").stdout.split())

    assert (503, "model_unavailable") == (status, error["code"])
    for text in (error["message"], shown):
        assert "the engine cannot read the model's chat template: Unknown statement: bogus" in text
        assert '"--chat-template", "chatml"' in text
    assert "ready" == daemon.replicas()["mended#0"]["state"]


def request(
    daemon: Daemon, body: bytes, path: str = "/v1/completions", **headers: str
) -> tuple[int, dict[str, str]]:
    host, port = daemon.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=DEADLINE_SECONDS)
    try:
        fields = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        connection.request("POST", path, body, fields)
        response = connection.getresponse()
        return response.status, json.loads(response.read())["error"]
    finally:
        connection.close()


def test_requests_that_cannot_be_served_say_why(demo: Daemon) -> None:
    unknown = request(demo, b'{"model": "gpt-4", "prompt": "x"}')
    invalid = request(demo, b'{"model": "demo", ')
    foreign = request(demo, b"{}", Host="evil.example")
    huge = request(demo, b"", Content_Length=str(200 << 20))
    nowhere = request(demo, b"{}", path="/v1/chat/completion")

    assert (404, "model_not_found") == (unknown[0], unknown[1]["code"])
    assert "demo" in unknown[1]["message"]
    assert (400, "invalid_request") == (invalid[0], invalid[1]["code"])
    assert (421, "host_not_allowed") == (foreign[0], foreign[1]["code"])
    assert (413, "body_too_large") == (huge[0], huge[1]["code"])
    assert (404, "not_found") == (nowhere[0], nowhere[1]["code"])
    assert 200 == _status_of_a_good_request(demo), "the daemon goes on"


def _status_of_a_good_request(daemon: Daemon) -> int:
    host, port = daemon.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=DEADLINE_SECONDS)
    try:
        connection.request(
            "POST", "/v1/completions", b'{"prompt": "x"}', {"Content-Type": "application/json"}
        )
        return connection.getresponse().status
    finally:
        connection.close()
