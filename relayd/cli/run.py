"""relayd run: a model by its name, from wherever it is to the first answer."""

from pathlib import Path
from typing import Annotated

import typer

from relayd.cli.chat import question_of, talk_with
from relayd.cli.support.control import RunningDaemon, running_daemons
from relayd.cli.support.flags import Context, EngineFlags, GpuLayers, Slots, overrides_of
from relayd.cli.support.hosted import hosted_already
from relayd.cli.support.loads import load_model
from relayd.cli.support.manner import Manner
from relayd.cli.support.output import Quiet
from relayd.desired.arguments import Overrides
from relayd.errors import NoDaemonError, UsageError


def run(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE|OWNER/REPO[:QUANT]|URL", help="A model, here or to fetch: qwen3:8b, gemma3, …"
        ),
    ],
    prompt: Annotated[
        list[str] | None, typer.Argument(metavar="[PROMPT]...", help="Answer this, and end.")
    ] = None,
    context: Context = None,
    slots: Slots = None,
    gpu_layers: GpuLayers = None,
    engine_flag: EngineFlags = None,
    system: Annotated[str | None, typer.Option(help="Instructions that come first.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="The relay.toml to use.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; fetch what is missing.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show replica, devices, queue and cache below an answer.")
    ] = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="For one answer: print a JSON object.")] = False,
) -> None:
    """Run a model by its name: fetch, start, load it, and talk.

    What is larger than 1 GiB is fetched after a question, or with --yes. A prompt, or what is piped in, is
    answered once. relayd stays in the background: `relayd ps` shows it, `relayd stop` ends it. Flags for
    llama-server follow `--`; they and --context, --slots and --gpu-layers are for a relayd that this starts.
    """
    asked = question_of(prompt or ())
    if as_json and asked is None:
        raise UsageError("--json is for one answer", remedy="Give a prompt, or pipe one in.")
    manner = Manner(yes=yes, quiet=quiet or as_json)
    typed = overrides_of(context, slots, gpu_layers, engine_flag)
    served = serve_model(model, manner, typed, config)
    talk_with(served, asked, system=system or "", max_tokens=max_tokens, verbose=verbose, as_json=as_json)


def serve_model(text: str, manner: Manner, typed: Overrides, config: Path | None) -> str:
    """Have a model in memory, whatever that takes, and return the name by which it is served.

    Raises:
        RelaydError: It is not known, cannot be fetched, served or loaded.
    """
    running = _running()
    if running and typed:
        raise UsageError(
            "a relayd runs already, and serves by its own settings",
            remedy="Set them in relay.toml and `relayd reload`, or `relayd stop` it first.",
        )
    hosted = hosted_already(text, running)
    if hosted is None:
        from relayd.cli.support.hosting import host  # plans and engines: not for a model that is served
        from relayd.cli.support.wanted import wanted_model

        found = wanted_model(text, manner)
        hosted = host(found, running, typed, config, quiet=manner.quiet)
    if hosted.is_new:
        manner.note(f"relayd runs in the background (pid {hosted.client.status().pid}). End it: relayd stop")
    load_model(hosted.client, hosted.name)
    return hosted.name


def _running() -> list[RunningDaemon]:
    try:
        return running_daemons()
    except NoDaemonError:
        return []
