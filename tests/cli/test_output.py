import ast
import io
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import typer
from rich.text import Text
from typer.core import TyperCommand, TyperGroup
from typer.testing import CliRunner

from relayd.cli import main
from relayd.cli.app import STREAMS
from relayd.cli.app import app as relayd_app
from relayd.cli.support import terminal
from relayd.cli.support.lazy import LazyGroup
from tests.daemons import Daemon, home_environ

ARGUMENTS: Mapping[str, str] = MappingProxyType({
    "bus init": "bus --hub main",
    "import": "llmstream config.json",
    "upstreams add": "http://127.0.0.1:9 --name box",
    "upstreams remove": "box",
    "upstreams test": "box",
    "serve": "no-such-model",
    "init": "--yes --model smollm2-135m-instruct --no-pull --no-service",
    "recommend": "--model smollm2-135m-instruct",
    "pull": "no-such-model",
    "run": "no-such-model hello",
    "config get": "server.listen",
    "models show": "no-such-model",
    "completions": "bash",
    "chat": "-m hello",
    "explain": "qwen3-0.6b --no-probe",
    "catalog show": "qwen3-0.6b",
    "catalog import": "'m-7b|M 7B|5000000000|4.7 GB|MIT|m.Q5_K_M.gguf|https://example.org/m.Q5_K_M.gguf|chat'",
    "models import": "missing.gguf",
    "models rm": "no-such-model",
    "search": "qwen",
    "keys create": "anna",
    "keys import": "anna",
    "keys rotate": "nobody",
    "keys limits": "nobody --limit rpm=1",
    "keys revoke": "nobody",
    "why": "nosuch",
    "batch submit": "missing.jsonl",
    "batch show": "nosuch",
    "batch watch": "nosuch",
    "batch results": "nosuch",
    "batch cancel": "nosuch",
    "batch retry": "nosuch",
    "nodes invite": "box",
    "nodes remove": "box",
    "nodes drain": "box",
    "nodes wake": "box",
    "nodes undrain": "box",
    "join": "nowhere",
    "load": "no-such-model",
    "unload": "no-such-model",
    "pin": "no-such-model",
    "unpin": "no-such-model",
    "service install": "--user --dry-run",
    "service uninstall": "--user --dry-run",
    "service show": "--user",
})  # fmt: skip
"""What follows a command to have an answer, or an error, in an empty home; nothing by default."""

DOWNLOADS = frozenset({"engine install", "engine update", "search"})
"""Commands that would go to the network: they meet a configuration that cannot be read."""


def commands(app: object = None, path: str = "") -> Iterator[tuple[str, TyperCommand]]:
    """Yield every command of relayd with the words that call it."""
    command = app or typer.main.get_command(relayd_app)
    if isinstance(command, LazyGroup):
        for name, listed in command.lazy.items():
            yield from commands(listed.load(name), name)
    elif isinstance(command, TyperGroup):
        for name, one in command.commands.items():
            yield from commands(one, f"{path} {name}".strip())
    elif isinstance(command, TyperCommand):
        yield path, command


def is_document(text: str) -> bool:
    return text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"


def is_stream(text: str) -> bool:
    return all(line == json.dumps(json.loads(line), ensure_ascii=False) for line in text.splitlines())


@pytest.mark.pure
def test_every_command_can_speak_json() -> None:
    spoken = {path: [flag for one in command.params for flag in one.opts] for path, command in commands()}
    assert [] == [path for path, flags in spoken.items() if "--json" not in flags]


@pytest.mark.pure
def test_the_lists_of_commands_cut_no_sentence_short() -> None:
    groups = {path.rpartition(" ")[0] for path, _ in commands()}
    shown = {
        group: CliRunner().invoke(relayd_app, [*group.split(), "--help"], terminal_width=80)
        for group in groups
    }
    assert {} == {
        group: one.stdout for group, one in shown.items() if "..." in one.stdout.partition("Commands:")[2]
    }


KEEPERS = {"picked.py", "resumed.py", "config.py"}
"""Modules that keep a file of JSON and print nothing, and one that quotes strings as TOML and JSON do."""


@pytest.mark.pure
def test_only_one_module_of_the_command_line_writes_json() -> None:
    folder = Path(main.__file__).parent
    writers = [
        module.name
        for module in sorted(folder.rglob("*.py"))
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"dump", "dumps", "encode"}
        and isinstance(node.value, ast.Name | ast.Attribute) and "json" in ast.unparse(node.value)
    ]  # fmt: skip
    assert ["output.py", "output.py"] == [name for name in writers if name not in KEEPERS]


@pytest.mark.system
@pytest.mark.parametrize("path", [path for path, _ in commands()])
def test_json_is_one_indented_document_or_a_line_for_each_event(
    path: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in home_environ(home).items():
        monkeypatch.setenv(name, value)
    if path in DOWNLOADS:
        (home / "relay.toml").write_text("nonsense = ")
    arguments = shlex.split(ARGUMENTS.get(path, ""))
    monkeypatch.chdir(home)
    monkeypatch.setattr("os.umask", lambda mode: mode)  # the process of the tests keeps its own
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    monkeypatch.setattr(sys, "argv", ["relayd", *path.split(), *arguments, "--json"])
    with pytest.raises(SystemExit):
        main.run()

    shown = capsys.readouterr().out
    assert shown, f"relayd {path} --json says nothing"
    assert is_stream(shown) if path.split(maxsplit=1)[0] in STREAMS else is_document(shown)


@pytest.mark.real
def test_a_running_relayd_answers_every_command_in_the_same_format(demo: Daemon) -> None:
    asked = ["status", "chat -m hi", "test", "models list", "bench --rounds 1 --tokens 4 --prompt-words 8"]
    acted = ["drain demo", "start demo", "restart demo", "reload", "stop demo"]
    for line in (*asked, *acted, "stop"):
        assert is_document(demo.run(*line.split(), "--json").stdout), line
    assert is_stream(demo.run("logs", "--json").stdout)


@pytest.mark.pure
@pytest.mark.parametrize("render", [Text("x" * 150), lambda _: Text("x" * 150)])
def test_out_of_a_terminal_a_thing_is_one_line(
    render: Text | Callable[[int], Text], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.show(render)
    assert ["x" * 150] == capsys.readouterr().out.splitlines()
    terminal.show(render, terminal.MAIL_COLUMNS)
    assert ["x" * 100, "x" * 50] == capsys.readouterr().out.splitlines()
