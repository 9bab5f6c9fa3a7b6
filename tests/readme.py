"""Rewrite what is generated in the documents: `python -m tests.readme`.

The help of every command, the error codes and the states of a replica have pages under `.github/docs/`; the
README holds what was written by hand.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from typer.testing import CliRunner

from relayd.cli.app import app
from relayd.cli.main import COMMANDS
from relayd.daemon.figures import page as figure_table
from relayd.errors import RelaydError
from relayd.supervisor.state import diagram

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / ".github" / "docs"

_MARK = "<!-- This page is generated: python -m tests.readme -->"


def generated() -> dict[Path, str]:
    """Return every generated page, and what it should hold."""
    return {DOCS / name: f"{_MARK}\n{page()}\n" for name, page in _PAGES.items()}


def documents() -> tuple[Path, ...]:
    """Return the README and every page beside it."""
    return (README, *sorted(DOCS.glob("*.md")))


def _metrics() -> str:
    return f"""# Figures of /metrics

`/metrics` is for Prometheus and `/metrics.json` has the same as JSON. Both need a key of scope `metrics` once
there is any key. Labels are names of models, replicas, keys (by id), outcomes and codes, never what a client
wrote. The engine's own figures (`llamacpp:...`) follow relayd's: those of several replicas with `model` and
`replica` as labels. Two of them, `llamacpp:prompt_tokens_seconds` and `llamacpp:predicted_tokens_seconds`,
are averages since they were read last, by whichever reader: use the counters. [extras](../../extras) has a
dashboard for Grafana and alert rules.

{figure_table()}"""


def _commands() -> str:
    blocks = [f"```text\n{_help()}\n```"]
    for name in COMMANDS:
        blocks.append(f"## {name}\n\n```text\n{_help(name)}\n```")
        blocks.extend(f"```text\n{_help(name, inner)}\n```" for inner in _inner(name))
    return "\n\n".join(("# Commands", *blocks))


def _inner(name: str) -> Iterator[str]:
    """Yield the commands of a group."""
    command = COMMANDS[name].load(name)
    yield from getattr(command, "commands", {})


def _help(*command: str) -> str:
    runner = CliRunner(env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"})
    shown = runner.invoke(app, [*command, "--help"], prog_name="relayd", terminal_width=100).output
    return " ".join(("$ relayd", *command, "--help")) + "\n" + shown.strip()


def _errors() -> str:
    rows = [
        f"| `{one.code}` | {one.http_status} | {one.exit_status} | {(one.__doc__ or '').splitlines()[0]} |"
        for one in _drawn(RelaydError)
    ]
    return "\n".join(["# Error codes", "", "| code | HTTP | exit | |", "|---|---|---|---|", *rows])


def _drawn(kind: type[RelaydError]) -> Iterator[type[RelaydError]]:
    """Yield an error and all below it, in the order of the tree."""
    yield kind
    for one in kind.__subclasses__():
        if one.__module__.startswith("relayd.errors."):
            yield from _drawn(one)


def _states() -> str:
    return f"# The states of a replica\n\n```mermaid\n{diagram()}\n```"


_PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": _commands,
    "errors.md": _errors,
    "metrics.md": _metrics,
    "states.md": _states,
}

if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text)
