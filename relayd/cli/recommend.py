"""relayd recommend: models for this machine, how to run them, and why."""

import contextlib
import shlex
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from relayd.advice import Adviser, Question, Recommendations, answer
from relayd.cli.support.display import ConsoleDisplay
from relayd.cli.support.given import configured_by_hand, given_arguments
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import MAIL_COLUMNS, show, working
from relayd.desired.advisers import adviser_at
from relayd.errors import UsageError
from relayd.planner.answers import Proposal
from relayd.planner.quality import Use
from relayd.planner.uses import use_of
from relayd.printable import printable
from relayd.ui.machine import held_line, machine_line, room_line
from relayd.ui.recommend import advice_page, advice_table, answers_page, heading, listed, none_suits
from relayd.units import show_bytes

EACH, SHOWN = 2, 10
"""Models shown for each use, and for one that is named."""


FOR = "What for: chat, agent, code, reasoning, vision, embedding or long (context)."

SIMULATE = "Another machine: 2x3090,ram=64; 'm4 max 64'; 'strix halo 128'; ram=16,cpu=8."


def recommend(
    use: Annotated[str, typer.Option("--for", help=f"{FOR}  [default: chat]")] = "",
    every: Annotated[
        bool, typer.Option("--all", help="A table of more models; of each use without --for.")
    ] = False,
    model: Annotated[str, typer.Option(help="One model: why, and what would make it fit.")] = "",
    min_context: Annotated[int, typer.Option(min=0, help="Tokens a slot must hold.")] = 0,
    min_speed: Annotated[float | None, typer.Option(min=0, help="Tokens a second it must reach.")] = None,
    users: Annotated[int, typer.Option("--users", "--slots", min=1, max=256, help="Requests at once.")] = 1,
    simulate: Annotated[str, typer.Option(help=SIMULATE)] = "",
    command: Annotated[bool, typer.Option("--command", help="Print the llama-server line.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Add the best to relayd's models.toml.")] = False,
    fleet: Annotated[
        bool,
        typer.Option("--fleet", help="For each machine of the hub that runs here, beside what it serves."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Recommend models for this machine, with the reasons."""
    if fleet:
        from relayd.cli.support.overmachines import recommend_over_machines

        if simulate or model or command or write or min_context or min_speed is not None:
            raise UsageError("--fleet goes with --for, --all, --users and --json alone")
        chosen = _use(use, every=every, model="")
        recommend_over_machines((chosen,) if chosen else tuple(Use), users, as_json=as_json)
        return
    question = Question(
        use=_use(use, every=every, model=model),
        model=model,
        min_context=min_context,
        min_speed=min_speed,
        users=users,
        count=(SHOWN if use else EACH) if every else 1,
    )
    with working("Asking the engine about the best …"):
        found = answer(gather(simulate, instead_of=model), question)
    if command:
        typer.echo(found.command_line())
    elif write:
        _check_unconfigured(found)
        typer.echo(found.keep(given_arguments()[1].state))
    elif as_json:
        print_json(found.document())
    else:
        _show(found, users, every=every)


def _use(said: str, *, every: bool, model: str) -> Use | None:
    """Return the use that is meant; None is every use, or that of a model.

    Raises:
        UsageError: There is no such use.
    """
    if said:
        return use_of(said)
    return None if every or model else Use.CHAT


def _check_unconfigured(found: Recommendations) -> None:
    """Refuse to add a model of a name that the operator gave to one.

    Raises:
        UsageError: relay.toml has it.
    """
    name, placement = found.best
    called = found.adviser.called(name, placement)
    if configured_by_hand(called, name):
        raise UsageError(
            f"your relay.toml has {called} already", remedy="It stays as it is; change it there."
        )


def gather(simulated: str = "", *, instead_of: str = "") -> Adviser:
    """Return everything that advice is made from: machine, catalogue, files, engine, configured models.

    Args:
        simulated: Another machine, as `--simulate` describes it; "" is this one.
        instead_of: A model that is asked about: where it is configured, its memory counts as free.

    Raises:
        UsageError: That machine cannot be understood.
        ConfigError: The configuration or the catalogue is wrong.
    """
    arguments, site = given_arguments()
    return adviser_at(site, site.load(arguments.config), ConsoleDisplay(), simulated, instead_of=instead_of)


def answers_for_serve() -> tuple[tuple[str, str], ...]:
    """Return the models to begin with on this machine: the command that gets each, and what it is."""
    found = answer(gather(), Question(use=Use.CHAT, count=1))
    return tuple(
        (
            f"relayd pull {_called(found, one)}",
            f"{listed(one.kinds)}, {show_bytes(one.placement.form.nbytes)}",
        )
        for one in found.answers.get(Use.CHAT, ())
    )


def _show(found: Recommendations, users: int, *, every: bool) -> None:

    adviser = found.adviser
    if found.parts:
        (use, (advice,)), *_ = found.groups.items()
        extra = [("Would fit", found.needs), *(("Note", note) for note in found.notes)]
        page = advice_page(advice, found.parts, adviser.budget, use, extra, found.fixes)
        show(lambda _: page, MAIL_COLUMNS)
        _show_next(found)
        return
    machine = Text(machine_line(adviser.machine, adviser.assumed))
    kept = Text(room_line(adviser.budget))
    show(lambda _: Group(machine, kept, Text()), MAIL_COLUMNS)
    if every:
        show(lambda width: advice_table(found.groups, width), MAIL_COLUMNS)
    else:
        (use,) = found.answers
        show(lambda _: _answers(found, use, users), MAIL_COLUMNS)
    notes = (*found.notes, *adviser.machine.notes, *_held_now(adviser))
    if notes:
        show(lambda _: Text("\n".join(f"Note: {note}" for note in notes)), MAIL_COLUMNS)


def _held_now(adviser: Adviser) -> Iterator[str]:
    """Yield which programs hold memory, where less is free now than models may take."""
    free = adviser.machine.memory.usable
    if adviser.assumed is None and free < adviser.budget.host.usable:
        from relayd.hardware import largest_in_ram

        yield held_line(free, [(printable(name), nbytes) for name, nbytes in largest_in_ram()])


def _answers(found: Recommendations, use: Use, users: int) -> RenderableType:
    answers = found.answers[use]
    if not answers:
        return Text(none_suits(use, found.slower.get(use)))
    page = answers_page(
        answers,
        use,
        users,
        lambda one: _called(found, one),
        lambda one: found.adviser.file(one.advice.known.name, one.placement) is not None,
    )
    more = f"More: relayd recommend --all{'' if use is Use.CHAT else f' --for {use}'}"
    others = ", ".join(one for one in Use if one is not use)
    return Group(
        Text(heading(use, users)), Text(), page, Text(), Text(f"{more}. Other uses: --for {others}.")
    )


def _called(found: Recommendations, one: Proposal) -> str:
    return found.adviser.called(one.advice.known.name, one.placement)


def _show_next(found: Recommendations) -> None:
    """Say what to type to have the first recommendation; of another machine, or of none, nothing."""
    with contextlib.suppress(UsageError):
        name, placement = found.best
        if found.adviser.simulated:
            return
        here = found.adviser.file(name, placement)
        called = shlex.quote(found.adviser.called(name, placement))
        typer.echo(f"\nServe it: relayd serve {called}" if here else f"\nGet it: relayd pull {called}")
