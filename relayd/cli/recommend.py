"""relayd recommend: which models should this machine run, how exactly, and why?"""

import contextlib
import shlex
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import MAIL_COLUMNS, show, working

if TYPE_CHECKING:
    from relayd.advice import Adviser, Answer
    from relayd.engine import Engine
    from relayd.hardware import Machine

EACH, SHOWN = 2, 10
"""Models shown for each use, and for one that is named."""


class For(StrEnum):
    """What a model is wanted for."""

    CHAT = "chat"
    CODE = "code"
    REASONING = "reasoning"
    VISION = "vision"
    EMBEDDING = "embedding"


def recommend(
    use: Annotated[For | None, typer.Option("--for", help="What for; all of them without it.")] = None,
    model: Annotated[str, typer.Option(help="One model: why, and what would make it fit.")] = "",
    min_context: Annotated[int, typer.Option(min=0, help="Tokens a slot must hold.")] = 0,
    min_speed: Annotated[float | None, typer.Option(min=0, help="Tokens a second it must reach.")] = None,
    slots: Annotated[int | None, typer.Option(min=1, max=256, help="Requests at once.")] = None,
    simulate: Annotated[str, typer.Option(help="Another machine, like gpu=4090:24,ram=64.")] = "",
    command: Annotated[bool, typer.Option("--command", help="Print the llama-server line.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Add the best to relayd's models.toml.")] = False,
    as_json: AsJson = False,
) -> None:
    """Recommend models for this machine, with the reasons."""
    from relayd.advice import Question, Use, answer
    from relayd.config.paths import state_dir

    question = Question(
        use=Use(use) if use else None,
        model=model,
        min_context=min_context,
        min_speed=min_speed,
        slots=slots,
        count=SHOWN if use else EACH,
    )
    with working("Asking the engine about the best …"):
        found = answer(gather(simulate), question)
    if command:
        typer.echo(found.command_line())
    elif write:
        _check_unconfigured(found)
        typer.echo(found.keep(state_dir()))
    elif as_json:
        print_json(found.document())
    else:
        _show(found)


def _check_unconfigured(found: "Answer") -> None:
    """Refuse to add a model of a name that the operator gave to one.

    Raises:
        UsageError: relay.toml has it.
    """
    from relayd.cli.start import configured_by_hand
    from relayd.errors import UsageError

    name, placement = found.best
    called = found.adviser.called(name, placement)
    if configured_by_hand(called, name):
        raise UsageError(
            f"your relay.toml has {called} already", remedy="It stays as it is; change it there."
        )


def gather(simulated: str = "") -> "Adviser":
    """Return everything that advice is made from: machine, catalogue, files and engine.

    Args:
        simulated: Another machine, as `--simulate` describes it; "" is this one.

    Raises:
        UsageError: That machine cannot be understood.
        ConfigError: The configuration or the catalogue is wrong.
    """
    import os
    from pathlib import Path

    from relayd.advice import Adviser, MemoryProbe, catalogued, find_files
    from relayd.advice import simulate as described
    from relayd.catalog import Folders, load_catalog, shipped_folder
    from relayd.cli.ondisk import models_on_disk
    from relayd.config import load
    from relayd.config.paths import cache_dir, config_dir, data_dir, state_dir
    from relayd.store import remembered_runs

    machine = catalogued(described(simulated)) if simulated else this_machine()
    config = load(None, os.environ, Path.home(), Path.cwd()).config
    entries = load_catalog(
        Folders(
            shipped_folder(), state_dir() / "catalog", config_dir() / "catalog", cache_dir() / "catalog.json"
        )
    )
    engine = _engine(config.engine.path)
    return Adviser(
        machine=machine,
        entries=entries,
        files=find_files(entries, models_on_disk(), [Path(model.file) for model in config.model]),
        models=data_dir() / "models",
        engine=engine,
        probe=MemoryProbe(engine, cache_dir() / "engine", os.environ) if engine else None,
        simulated=bool(simulated),
        runs=() if simulated else tuple(remembered_runs(state_dir())),
    )


def best_command() -> str:
    """Return the command that gets the best chat model for this machine."""
    from relayd.advice import Placement, Question, Use, answer

    found = answer(gather(), Question(use=Use.CHAT, count=1))
    for advice in found.groups[Use.CHAT]:
        if advice.good and isinstance(advice.outcome, Placement):
            return f"relayd pull {advice.known.name}:{advice.outcome.form.quantization.name}"
    return "relayd recommend"


def this_machine() -> "Machine":
    """Return this machine as its engine sees it; how fast it reads RAM is measured once."""
    from relayd.cli.hardware import as_the_engine_sees
    from relayd.clock import SystemClock
    from relayd.config.paths import cache_dir
    from relayd.hardware import probe
    from relayd.hardware.measure import measured, remembered

    cache = cache_dir() / "hardware"
    machine = remembered(probe(), cache)
    if machine.ram_bandwidth is None:
        with working("Measuring how fast RAM is read …"):
            machine = measured(machine, cache, SystemClock())
    return as_the_engine_sees(machine)


def _engine(configured: str) -> "Engine | None":
    from relayd.cli.engine import find
    from relayd.errors import EngineError

    try:
        return find(configured)
    except EngineError:
        return None


def _show(found: "Answer") -> None:
    from rich.text import Text

    from relayd.ui.recommend import advice_page, advice_table

    adviser = found.adviser
    if found.parts:
        (use, (advice,)), *_ = found.groups.items()
        extra = [("Would fit", found.needs), *(("Note", note) for note in found.notes)]
        show(lambda _: advice_page(advice, found.parts, adviser.budget, use, extra), MAIL_COLUMNS)
        _tell_next(found)
        return
    show(lambda width: advice_table(found.groups, found.confirmed, width), MAIL_COLUMNS)
    notes = (*found.notes, *adviser.machine.notes)
    if notes:
        show(lambda _: Text("\n".join(f"Note: {note}" for note in notes)), MAIL_COLUMNS)
    _tell_next(found)


def _tell_next(found: "Answer") -> None:
    """Say what to type to have the first recommendation; of another machine, or of none, nothing."""
    from relayd.errors import UsageError

    with contextlib.suppress(UsageError):
        name, placement = found.best
        if found.adviser.simulated:
            return
        here = found.adviser.file(name, placement)
        called = shlex.quote(found.adviser.called(name, placement))
        typer.echo(f"\nServe it: relayd serve {called}" if here else f"\nGet it: relayd pull {called}")
