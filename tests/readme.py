"""Rewrite the generated parts of the README: `python -m tests.readme`."""

import re
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from relayd.cli.app import app
from relayd.errors import RelaydError
from relayd.supervisor.state import diagram

README = Path(__file__).parents[1] / "README.md"

_COMMANDS = ("", "serve")


def regenerated(text: str) -> str:
    """Return the README with every generated part as it should be."""
    text = _between(text, "help", f"```text\n{_help()}\n```")
    text = _between(text, "errors", _errors())
    return re.sub(r"stateDiagram-v2\n.*?```", lambda _: f"{diagram()}\n```", text, flags=re.DOTALL)


def _between(text: str, name: str, body: str) -> str:
    pattern = rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)"
    return re.sub(pattern, lambda found: f"{found[1]}{body}\n{found[2]}", text, flags=re.DOTALL)


def _help() -> str:
    runner = CliRunner(env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"})
    blocks = []
    for command in _COMMANDS:
        shown = runner.invoke(
            app, [*command.split(), "--help"], prog_name="relayd", terminal_width=100
        ).output
        blocks.append(f"$ relayd {command} --help".replace("  ", " ") + "\n" + shown.strip())
    return "\n\n".join(blocks)


def _drawn(kind: type[RelaydError]) -> Iterator[type[RelaydError]]:
    """Yield an error and all below it, in the order of the tree."""
    yield kind
    for one in kind.__subclasses__():
        if one.__module__.startswith("relayd.errors."):
            yield from _drawn(one)


def _errors() -> str:
    rows = [
        f"| `{one.code}` | {one.http_status} | {one.exit_status} | {(one.__doc__ or '').splitlines()[0]} |"
        for one in _drawn(RelaydError)
    ]
    return "\n".join(["| code | HTTP | exit | |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    README.write_text(regenerated(README.read_text()))
