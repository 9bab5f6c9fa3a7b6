"""relayd bench: measure the speed of a model on this machine, or what an address bears."""

import dataclasses
import os
from typing import Annotated, Any

import typer

from relayd.advice.measured import ExpectedSpeeds, expected
from relayd.cli.support import completion
from relayd.cli.support.conversation import choose_model, open_conversation
from relayd.cli.support.output import AsJson, Quiet, print_json
from relayd.client.benchmark import Benchmark, run_benchmark, verdict
from relayd.client.chat import Conversation
from relayd.clock import SystemClock
from relayd.config import Config
from relayd.daemon.report import ModelReport, StatusReport
from relayd.desired.machine import machine_at
from relayd.desired.make import room_at
from relayd.desired.site import Site
from relayd.errors import ModelNotFoundError, RequestError, UsageError
from relayd.folders import own_paths
from relayd.planner.speed import Estimate
from relayd.store import remember_run


def bench(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="Needed when there are several.", autocompletion=completion.models
        ),
    ] = None,
    prompt_words: Annotated[int, typer.Option(min=1, help="Words of every prompt.")] = 384,
    tokens: Annotated[int, typer.Option(min=2, help="Tokens of every answer.")] = 128,
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of the model alone.")] = 3,
    requests: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Send so many requests, and show what clients get.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=1024, metavar="C", help="With --requests: how many at once.")
    ] = 8,
    stream: Annotated[bool, typer.Option("--stream", help="With --requests: ask for streams.")] = False,
    url: Annotated[
        str, typer.Option(metavar="URL", help="With --requests: any OpenAI address, not this daemon's.")
    ] = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure how fast a running model is.

    That is prompt and answer speed (llama-bench's pp and tg), for one request and for as many at once as the
    model has slots, beside what was predicted. The result is kept, and corrects what relayd expects of this
    machine.

    With --requests it loads the address as clients do: answers a second, the time to the first byte and to
    the end (half of them, 95 %, 99 %), failures by status and code. RELAYD_API_KEY is the key for --url.
    Exits with 1 if a request failed.
    """
    if requests is None:
        if url or stream:
            raise UsageError("--url and --stream belong to --requests", remedy="Add --requests 100.")
        _measure(model, prompt_words, tokens, rounds, quiet=quiet or as_json, as_json=as_json)
        return
    from relayd.cli.support.loading import aimed, shown
    from relayd.client.load import run_load

    body = {"max_tokens": tokens, "stream": stream}
    target, name = aimed(url, model, body, prompt_words, dict(os.environ))
    if not (quiet or as_json):
        typer.echo(f"{requests} requests to {name}, {concurrency} at once …", err=True)
    result = run_load(target, requests, concurrency)
    if as_json:
        print_json(dataclasses.asdict(result))
    else:
        typer.echo("\n".join(shown(result)))
    if result.failures or result.requests < requests:
        raise typer.Exit(1 if result.failures else 130)


def _measure(
    model: str | None, prompt_words: int, tokens: int, rounds: int, *, quiet: bool, as_json: bool
) -> None:
    conversation, report = open_conversation(model)
    name = choose_model(model, report)
    try:
        found = _ready(name, conversation, report, quiet=quiet)
        result = run_benchmark(
            lambda: conversation,
            name,
            prompt_words=prompt_words,
            tokens=tokens,
            rounds=rounds,
            at_once=_sweep(found.slots),
            on_step=lambda text: None if quiet else typer.echo(f"{name}: {text} …", err=True),
        )
    except RequestError as error:
        if error.code == "context_length_exceeded":
            error.remedy = (
                f"Take shorter prompts: `relayd bench {name} --prompt-words {prompt_words // 4 or 1}`."
            )
        raise
    run = _record(result, found)
    site = Site()
    said = expected(run, room_at(site, Config(), machine_at(site)))  # as it was before this run
    remember_run(own_paths().state, run)
    _show(result, tokens, said, as_json=as_json)


def _ready(name: str, conversation: Conversation, report: StatusReport, *, quiet: bool) -> ModelReport:
    """Return the report of a model with slots; one that is loaded on demand is asked for first.

    Raises:
        ModelNotFoundError: No replica of it is ready or can become so.
    """
    found = _of(report, name)
    states = {replica.state for replica in found.replicas}
    if not found.slots and states - {"fatal", "stopped"}:
        if not quiet:
            typer.echo(f"{name}: waiting until it is loaded …", err=True)
        conversation.ask(name, [{"role": "user", "content": "Hello"}], max_tokens=1)
        found = _of(open_conversation(name)[1], name)
    if found.slots:
        return found
    reasons = {
        f"{one.name} is {one.state}" + (f": {one.last_exit.message}" if one.last_exit else "")
        for one in found.replicas
    }
    raise ModelNotFoundError(
        f"{name} has no replica that is ready: {'; '.join(sorted(reasons)) or 'none is planned'}",
        remedy=f"Start it with `relayd start {name}`; `relayd logs {name}` shows what it wrote.",
    )


def _of(report: StatusReport, name: str) -> ModelReport:
    return next(one for one in report.models if one.name == name)


def _sweep(slots: int) -> list[int]:
    """Return 1, 2, 4 … up to the slots there are."""
    counts = [1 << power for power in range(slots.bit_length())]
    return counts if counts[-1] == slots else [*counts, slots]


def _record(result: Benchmark, model: ModelReport) -> dict[str, Any]:
    """Return a measurement as it is kept: with the file and the command line that were measured."""
    command = next((list(replica.command) for replica in model.replicas), [])
    return {
        "at": SystemClock().wall(),
        "file": model.file,
        "command": command,
        **dataclasses.asdict(result),
    }


def _show(result: Benchmark, tokens: int, said: ExpectedSpeeds | None, *, as_json: bool) -> None:
    if as_json:
        predicted = dataclasses.asdict(said) if said else None
        print_json({**dataclasses.asdict(result), "predicted": predicted})
        return
    prompt, answer = (said.prompt, said.answer) if said else (None, None)
    print("test     measured, tokens/s   predicted, tokens/s")
    for name, measured, estimate in (
        (f"pp{result.prompt_tokens}", result.prefill_per_second, prompt),
        (f"tg{tokens}", result.decode_per_second, answer),
    ):
        print(f"{name:8} {_rate(measured):>18}   {_predicted(estimate)}")
    print("requests at once   each, tokens/s   together, tokens/s   first token")
    for level in result.levels:
        print(
            f"{level.requests:16} {level.each_per_second:16.1f} {level.tokens_per_second:20.1f} "
            f"{level.first_token_seconds * 1000:10.0f} ms"
        )
    if found := verdict(result.levels):
        print(found)


def _predicted(estimate: Estimate | None) -> str:
    if estimate is None:
        return "not known"
    return f"{_rate(estimate.value)} ({_rate(estimate.low)} to {_rate(estimate.high)}, {estimate.tag})"


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
