"""relayd chat: talk with a model."""

from typing import TYPE_CHECKING, Annotated

import typer

from relayd.cli import complete
from relayd.cli.output import print_json

if TYPE_CHECKING:
    from relayd.conversation import Conversation, Message, Turn


def chat(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="Needed when there are several.", autocompletion=complete.models
        ),
    ] = None,
    message: Annotated[
        str | None, typer.Option("-m", "--message", help="Ask this, print the answer, and end.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="Instructions that come first.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --message: print a JSON object.")] = False,
) -> None:
    """Talk with a model; an empty line or Ctrl-D ends. What each answer took is shown below it."""
    from relayd.cli.talk import choose_model, open_conversation
    from relayd.errors import UsageError

    if as_json and message is None:
        raise UsageError("--json is for one answer", remedy="ask it with --message")
    conversation, report = open_conversation()
    name = choose_model(model, report)
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    if message is not None:
        _once(conversation, name, [*messages, {"role": "user", "content": message}], max_tokens, as_json)
        return
    while words := _prompt():
        messages.append({"role": "user", "content": words})
        turn = conversation.ask(name, messages, max_tokens=max_tokens, on_text=_show)
        messages.append({"role": "assistant", "content": turn.text})
        typer.secho(f"\n{describe(turn)}\n", dim=True)


def describe(turn: "Turn") -> str:
    """Return what an answer took, on one line."""
    speed = f", {turn.per_second:.1f} tokens/s" if turn.per_second else ""
    cached = f" ({turn.cached_tokens} cached)" if turn.cached_tokens else ""
    where = f"{turn.replica}: queued {turn.queue_seconds * 1000:.0f} ms, " if turn.replica else ""
    return (
        f"[{where}first word after "
        f"{turn.first_token_seconds * 1000:.0f} ms, prompt {turn.prompt_tokens}{cached}, "
        f"answer {turn.tokens} tokens{speed}]"
    )


def _once(
    conversation: "Conversation", name: str, messages: "list[Message]", max_tokens: int | None, as_json: bool
) -> None:
    if as_json:
        import dataclasses

        turn = conversation.ask(name, messages, max_tokens=max_tokens)
        print_json({"model": name, **dataclasses.asdict(turn)})
        return
    turn = conversation.ask(name, messages, max_tokens=max_tokens, on_text=_show)
    print()
    typer.secho(describe(turn), dim=True, err=True)


def _show(piece: str) -> None:
    from relayd.supervisor.logs import printable

    # A line break is text; any other control character could command the terminal.
    print("\n".join(map(printable, piece.split("\n"))), end="", flush=True)


def _prompt() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        print()
        return ""
