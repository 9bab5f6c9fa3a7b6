"""relayd bench: measure the speed of a model on this machine."""

import dataclasses
from typing import Annotated

import typer

from relayd.cli.support import completion
from relayd.cli.support.conversation import choose_model, open_conversation
from relayd.cli.support.output import AsJson, Quiet, print_json
from relayd.client.benchmark import Benchmark, run_benchmark
from relayd.clock import SystemClock
from relayd.daemon.report import ModelReport
from relayd.errors import RequestError
from relayd.folders import own_paths
from relayd.store import remember_run


def bench(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="Needed when there are several.", autocompletion=completion.models
        ),
    ] = None,
    prompt_words: Annotated[int, typer.Option(min=1, help="Words of every prompt.")] = 256,
    tokens: Annotated[int, typer.Option(min=2, help="Tokens of every answer.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of the model alone.")] = 3,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure how fast a running model is.

    That is prompt and answer speed, for one request and for as many at once as the model has slots.
    The result is kept, and corrects what `relayd recommend` expects of this machine.
    """
    conversation, report = open_conversation()
    name = choose_model(model, report)
    found = next(one for one in report.models if one.name == name)
    try:
        result = run_benchmark(
            lambda: conversation,
            name,
            prompt_words=prompt_words,
            tokens=tokens,
            rounds=rounds,
            at_once=_sweep(found.slots),
            on_step=lambda text: None if as_json or quiet else typer.echo(f"{name}: {text} …", err=True),
        )
    except RequestError as error:
        if error.code == "context_length_exceeded":
            error.remedy = (
                f"Take shorter prompts: `relayd bench {name} --prompt-words {prompt_words // 4 or 1}`."
            )
        raise
    _remember(result, found)
    _show(result, as_json=as_json)


def _sweep(slots: int) -> list[int]:
    """Return 1, 2, 4 … up to the slots there are."""
    counts = [1 << power for power in range(slots.bit_length())]
    return counts if counts[-1] == slots else [*counts, slots]


def _remember(result: Benchmark, model: ModelReport) -> None:
    command = next((list(replica.command) for replica in model.replicas), [])
    run = {
        "at": SystemClock().wall(),
        "file": model.file,
        "command": command,
        **dataclasses.asdict(result),
    }
    remember_run(own_paths().state, run)


def _show(result: Benchmark, *, as_json: bool) -> None:
    if as_json:
        print_json(dataclasses.asdict(result))
        return
    print(f"prompt  {result.prefill_per_second:10.1f} tokens/s ({result.prompt_tokens} tokens)")
    print(f"answer  {result.decode_per_second:10.1f} tokens/s")
    print("at once   all together   each of them   first word")
    for level in result.levels:
        print(
            f"{level.requests:7} {level.tokens_per_second:10.1f} t/s {level.each_per_second:10.1f} t/s "
            f"{level.first_token_seconds * 1000:9.0f} ms"
        )
