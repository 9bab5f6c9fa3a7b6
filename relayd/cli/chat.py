"""relayd chat: talk with a model."""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from relayd.cli.support import completion
from relayd.cli.support.conversation import choose_model, devices_of, open_conversation
from relayd.cli.support.output import print_json
from relayd.client.chat import Conversation, Message, Turn
from relayd.daemon.report import StatusReport
from relayd.errors import NoDaemonError, RelaydError, UsageError
from relayd.printable import printable


def chat(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="Needed when there are several.", autocompletion=completion.models
        ),
    ] = None,
    message: Annotated[
        str | None, typer.Option("-m", "--message", help="Ask this, print the answer, and end.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="Instructions that come first.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --message: print a JSON object.")] = False,
) -> None:
    """Talk with a model.

    An empty line or Ctrl-D ends, Ctrl-C cuts an answer short. Where each answer came from and what it took is
    shown below it.
    """
    if as_json and message is None:
        raise UsageError("--json is for one answer", remedy="Ask it with --message.")
    conversation, report = open_conversation()
    line = _ChatSession(conversation, report, choose_model(model, report), max_tokens)
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    if message is None:
        _converse(line, messages)
    else:
        _once(line, [*messages, {"role": "user", "content": message}], as_json=as_json)


@dataclass(frozen=True, slots=True)
class _ChatSession:
    """A conversation with one model."""

    conversation: Conversation
    report: StatusReport
    model: str
    max_tokens: int | None

    def ask(self, messages: Sequence[Message], *, silent: bool = False) -> Turn:
        """Return the answer, shown as it comes unless `silent`."""
        show = _hide if silent else _show
        return self.conversation.ask(self.model, messages, max_tokens=self.max_tokens, on_text=show)

    def devices(self, turn: Turn) -> tuple[str, ...]:
        """Return the devices of the replica that gave an answer."""
        return devices_of(turn.replica, self.report)


def describe(turn: Turn, devices: Sequence[str] = ()) -> str:
    """Return where an answer came from and what it took, on one line."""
    speed = f", {turn.per_second:.1f} tokens/s" if turn.per_second else ""
    cached = f" ({turn.cached_tokens} cached)" if turn.cached_tokens else ""
    on = f" on {', '.join(devices)}" if devices else ""
    where = f"{turn.replica}{on}: queued {turn.queue_seconds * 1000:.0f} ms, " if turn.replica else ""
    return (
        f"[{where}first word after "
        f"{turn.first_token_seconds * 1000:.0f} ms, prompt {turn.prompt_tokens}{cached}, "
        f"answer {turn.tokens} tokens{speed}]"
    )


def _once(line: _ChatSession, messages: Sequence[Message], *, as_json: bool) -> None:
    turn = line.ask(messages, silent=as_json)
    devices = line.devices(turn)
    if as_json:
        print_json({"model": line.model, "devices": devices, **dataclasses.asdict(turn)})
        return
    print(flush=True)
    typer.secho(describe(turn, devices), dim=True, err=True)


def _converse(line: _ChatSession, messages: list[Message]) -> None:
    """Ask and answer until the person ends it; failed and interrupted turns are left out."""
    while words := _prompt():
        messages.append({"role": "user", "content": words})
        try:
            turn = line.ask(messages)
        except KeyboardInterrupt:
            messages.pop()
            typer.secho("\n[cut short]\n", dim=True)
            continue
        except NoDaemonError:
            raise
        except RelaydError as error:
            messages.pop()
            typer.echo(f"relayd: {error.message}\n", err=True)
            continue
        messages.append({"role": "assistant", "content": turn.text})
        typer.secho(f"\n{describe(turn, line.devices(turn))}\n", dim=True)


def _hide(_: str) -> None:
    """Show nothing: a program reads the whole answer at the end."""


def _show(piece: str) -> None:

    # A line break is text; any other control character could command the terminal.
    print("\n".join(map(printable, piece.split("\n"))), end="", flush=True)


def _prompt() -> str:
    """Return what is typed, or the next line of what is piped in; "" at the end."""
    if sys.stdin.isatty():
        import readline  # noqa: F401 - arrow keys work once it is imported
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        if sys.stdin.isatty():
            print()
        return ""
