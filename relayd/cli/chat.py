"""relayd chat: talk with a model."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from relayd.cli.support import completion
from relayd.cli.support.conversation import choose_model, open_conversation
from relayd.cli.support.output import print_json
from relayd.cli.support.screen import Screen, converse, dim, figures
from relayd.cli.support.talk import Talk
from relayd.client.chat import Turn
from relayd.daemon.report import StatusReport
from relayd.errors import RelaydError, UsageError


def chat(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="Needed when there are several.", autocompletion=completion.models
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Argument(metavar="[PROMPT]...", help="Ask this, print the answer, and end.")
    ] = None,
    message: Annotated[
        str | None, typer.Option("-m", "--message", help="The same, of the only model.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="Instructions that come first.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer.")] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show replica, devices, queue and cache below an answer.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For one answer: print a JSON object.")] = False,
) -> None:
    """Talk with a model.

    /help lists what can be typed besides questions. A prompt, or what is piped in, is answered once; a prompt
    comes before what is piped in.
    """
    asked = question_of(prompt or (), message)
    if as_json and asked is None:
        raise UsageError("--json is for one answer", remedy="Give a prompt, or pipe one in.")
    talk_with(model, asked, system=system or "", max_tokens=max_tokens, verbose=verbose, as_json=as_json)


def question_of(prompt: Sequence[str], message: str | None = None) -> str | None:
    """Return what is asked once: what was typed, then what is piped in; None for a conversation."""
    typed = [" ".join(prompt)] if prompt else []
    typed += [message] if message is not None else []
    piped = [] if sys.stdin.isatty() or message is not None else [sys.stdin.read().strip()]
    given = [one for one in (*typed, *piped) if one]
    if given:
        return "\n\n".join(given)
    if sys.stdin.isatty():
        return None
    raise UsageError("there is no prompt", remedy="Type one behind the model's name, or pipe one in.")


def talk_with(
    model: str | None, asked: str | None, *, system: str, max_tokens: int | None, verbose: bool, as_json: bool
) -> None:
    """Have a question answered, or a conversation with a model of the running daemon.

    Raises:
        RelaydError: No daemon runs, it has no such model, or the question was not answered.
    """
    conversation, report = open_conversation(model)
    name = choose_model(model, report)

    def ask(talk: Talk) -> Turn:
        return _answered(talk, report, max_tokens, verbose=verbose)

    talk = Talk(conversation, name, lambda other: choose_model(other, report), dim, ask, system)
    if asked is None:
        _greet(name, report)
        converse(talk)
    elif as_json:
        _print_answer(talk, asked, report, max_tokens)
    else:
        talk.question(asked)


def describe(turn: Turn, devices: Sequence[str] = ()) -> str:
    """Return where an answer came from and what it took, on one line."""
    speed = f", {turn.per_second:.1f} tokens/s" if turn.per_second else ""
    cached = f" and {turn.cached_tokens} cached" if turn.cached_tokens else ""
    on = f" on {', '.join(devices)}" if devices else ""
    where = f"{turn.replica}{on}: queued {turn.queue_seconds * 1000:.0f} ms, " if turn.replica else ""
    return (
        f"[{where}first word after "
        f"{turn.first_token_seconds * 1000:.0f} ms, prompt {turn.prompt_tokens} tokens read{cached}, "
        f"answer {turn.tokens} tokens{speed}]"
    )


def _greet(name: str, report: StatusReport) -> None:
    demo = any(model.demo for model in report.models if model.name == name)
    what = f"{name} (demo model: fixed answers)" if demo else name
    dim(f"Chat with {what}. /help lists commands, /bye leaves.")


def _answered(talk: Talk, report: StatusReport, max_tokens: int | None, *, verbose: bool) -> Turn:
    """Have the conversation answered, shown as it comes, with its figures below."""
    screen = Screen()
    try:
        turn = talk.conversation.ask(
            talk.model,
            talk.sent,
            max_tokens=max_tokens,
            on_text=screen.text,
            on_thought=screen.thought,
            on_wait=screen.on_wait,
        )
    except (KeyboardInterrupt, RelaydError):
        screen.stop()
        raise
    screen.end()
    dim(describe(turn, _devices(turn, report)) if verbose else figures(turn))
    return turn


def _devices(turn: Turn, report: StatusReport) -> tuple[str, ...]:
    from relayd.cli.support.devices import devices_of  # looks at the machine: only for who asks

    return devices_of(turn.replica, report)


def _print_answer(talk: Talk, asked: str, report: StatusReport, max_tokens: int | None) -> None:
    """Print one answer as JSON, with what it took."""

    def ask(talk: Talk) -> Turn:
        turn = talk.conversation.ask(talk.model, talk.sent, max_tokens=max_tokens)
        devices = _devices(turn, report)
        print_json({"model": talk.model, "devices": devices, **dataclasses.asdict(turn)})
        return turn

    dataclasses.replace(talk, ask=ask).question(asked)
