"""relayd test: check that a model answers, from every replica and through relayd."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from relayd.cli.chat import describe
from relayd.cli.support import completion
from relayd.cli.support.conversation import choose_model, open_conversation, open_replica
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import show_lines
from relayd.client.chat import Conversation
from relayd.daemon.report import ModelReport
from relayd.errors import ModelNotFoundError, RelaydError
from relayd.printable import printable
from relayd.ui.paragraph import wrapped

_HELLO = "Say hello."

_LEAST_COLUMNS = 30
"""Words are not squeezed into less, however narrow the terminal is."""


def try_models(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="Without it, every model.", autocompletion=completion.models),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Ask this, and show the answers too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask models for a few words, and check what comes back."""
    conversation, report = open_conversation(model)
    name = None if model is None else choose_model(model, report)
    models = [one for one in report.models if name in (None, one.name)]
    if not models:
        raise ModelNotFoundError("no model is configured", remedy="See what suits: `relayd recommend`.")
    runtime = Path(report.runtime)
    results = [result for one in models for result in _try(conversation, one, runtime, prompt or _HELLO)]
    if as_json:
        print_json(results)
    else:
        for result in results:
            _print(result)
            if prompt and result["ok"]:
                print("     " + "\n     ".join(map(printable, result["text"].strip().splitlines())))
    if not all(result["ok"] for result in results):
        raise typer.Exit(1)


def _try(conversation: Conversation, model: ModelReport, runtime: Path, prompt: str) -> list[dict[str, Any]]:
    """Return a result for each replica, asked directly, and one for an answer through relayd."""
    asked = [
        _ask(f"{replica.name} directly", model.name, partial(open_replica, replica, runtime), prompt)
        for replica in model.replicas
    ]
    return [*asked, _ask(f"{model.name} through relayd", model.name, lambda: conversation, prompt)]


def _ask(what: str, name: str, connect: Callable[[], Conversation], prompt: str) -> dict[str, Any]:

    try:
        turn = connect().ask(name, [{"role": "user", "content": prompt}], max_tokens=16)
    except RelaydError as error:
        return {"what": what, "ok": False, "detail": error.message}
    if turn.tokens == 0:
        return {"what": what, "ok": False, "detail": "the answer is empty"}
    return {"what": what, "ok": True, "detail": describe(turn), "text": turn.text}


def _print(result: dict[str, Any]) -> None:
    mark, color = ("ok", "green") if result["ok"] else ("FAIL", "red")
    show_lines(lambda width: _lines(f"{mark:4} ", color, f"{result['what']}: {result['detail']}", width))


def _lines(mark: str, color: str, text: str, width: int) -> Iterator[Text]:
    room = max(width - len(mark), _LEAST_COLUMNS) if width else 0
    first, *others = wrapped(text, room)
    yield Text.assemble((mark, color), first)
    yield from (Text(" " * len(mark) + line) for line in others)
