"""relayd init: from nothing to a model that runs, step by step."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from relayd.advice import Adviser, Question, Recommendations, answer
from relayd.cli.pull import obtain
from relayd.cli.recommend import FOR, gather
from relayd.cli.start import install_engine, no_service
from relayd.cli.support.given import configured_by_hand
from relayd.cli.support.guide import Guide
from relayd.cli.support.output import Quiet, print_json
from relayd.cli.support.resumed import Chosen, forget_choice, keep_choice, read_choice
from relayd.cli.support.terminal import MAIL_COLUMNS, show, working
from relayd.errors import FetchError, UsageError
from relayd.folders import state_dir
from relayd.planner.placement import Placement
from relayd.planner.quality import Use
from relayd.planner.uses import use_of
from relayd.ui.hardware import summary
from relayd.ui.recommend import answers_page
from relayd.units import show_bytes


def init(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take each first choice.")] = False,
    use: Annotated[str, typer.Option("--for", help=f"{FOR}  [default with --yes: chat]")] = "",
    model: Annotated[str, typer.Option(metavar="NAME[:QUANT]", help="This model.")] = "",
    no_pull: Annotated[bool, typer.Option("--no-pull", help="Fetch nothing.")] = False,
    no_service: Annotated[bool, typer.Option("--no-service", help="Install no service.")] = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --yes: print JSON; sizes are bytes.")] = False,
) -> None:
    """Set relayd up: find a model for this machine, and serve it.

    Each step can be left out. Ctrl-C ends it at any point: a partial download is resumed next time,
    nothing else is left half done.
    """
    guide = Guide(None if yes else input, _silent if as_json else typer.echo)
    try:
        _set_up(guide, use, model, pull=not no_pull, service=not no_service, quiet=quiet, as_json=as_json)
    except KeyboardInterrupt:
        guide.show("\nStopped. Nothing is lost: run relayd init again to go on.")
        raise


def _set_up(
    guide: Guide, use: str, model: str, *, pull: bool, service: bool, quiet: bool, as_json: bool
) -> None:
    with working("Looking at this machine …"):
        adviser = gather(instead_of=model)
    _show_machine(adviser, guide)
    if guide.asks and not _can_answer(as_json=as_json):
        _explain(adviser, use, model, pull=pull, service=service, report=guide.show)
    choice = _chosen_before(adviser, guide) if not (use or model) else None
    choice = choice or _choose(adviser, guide, use, model)
    done = _Done(choice)
    if choice:
        if pull and not choice.file:
            keep_choice(state_dir(), Chosen(choice.use.value, choice.called))
        _fetch(done, choice, guide, pull=pull, quiet=quiet)
    if choice and done.file:
        forget_choice(state_dir())
        _keep(done, choice, adviser, guide, quiet=quiet)
    if service:
        from relayd.cli.start import offer_service

        done.service = offer_service(guide)
    if as_json:
        print_json(done.document())
    else:
        typer.echo("\nNext:\n" + "\n".join(f"  {line}" for line in done.next))


def _chosen_before(adviser: Adviser, guide: Guide) -> "_Choice | None":
    """Return what an earlier start chose and did not download, if a person wants to continue."""
    before = read_choice(state_dir()) if guide.asks else None
    if before is None or not guide.agrees(f"\nContinue with {before.model}, which you chose last time?"):
        return None
    try:
        return _named(adviser, before.model, use_of(before.use))
    except (UsageError, ValueError):
        guide.show(f"{before.model} cannot be chosen any more.")
        return None


@dataclass(frozen=True, slots=True)
class _Choice:
    """The model that was chosen, in the quantization that suits this machine; `called` names both."""

    name: str
    quant: str
    called: str
    size: int
    use: Use
    file: Path | None


@dataclass(slots=True)
class _Done:
    """The result of each step."""

    choice: _Choice | None
    size: int = 0
    file: Path | None = None
    written: Path | None = None
    service: str = ""

    @property
    def next(self) -> tuple[str, str]:
        """What to type now."""
        if self.choice is None:
            return ("relayd recommend", "relayd serve --demo")
        name = shlex.quote(self.choice.called)
        talk = f"relayd chat {name}" if self.choice.use != "embedding" else "relayd status"
        if self.file is None:
            return (f"relayd pull {name}", f"relayd serve {name}")
        if self.service and self.written:
            return ("relayd reload" if self.service == "running" else "relayd status", talk)
        return (f"relayd serve {name}", f"{talk}    # in another terminal")

    def document(self) -> dict[str, Any]:
        choice = self.choice
        return {
            "schema": 1,
            "use": choice.use.value if choice else None,
            "model": choice.name if choice else None,
            "quant": choice.quant if choice else None,
            "bytes": (self.size or choice.size) if choice else None,
            "file": str(self.file) if self.file else None,
            "written": str(self.written) if self.written else None,
            "service": self.service,
            "next": [line.partition("    #")[0] for line in self.next],
        }


def _silent(_: str) -> None:
    """Show nothing: a program reads the output."""


def _can_answer(*, as_json: bool) -> bool:

    return not as_json and sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def _show_machine(adviser: Adviser, guide: Guide) -> None:

    for line in summary(adviser.machine):
        guide.show(line)


def _explain(adviser: Adviser, use: str, model: str, *, pull: bool, service: bool, report: Any) -> None:
    """Show what would be done, and refuse to do it without an answer.

    Raises:
        UsageError: Always.
    """
    choice = _choose(adviser, Guide(None, report), use, model)
    report("Without questions, relayd init would")
    if choice and pull and not choice.file:
        report(f"  fetch {choice.called}, {show_bytes(choice.size)}")
    if choice and (pull or choice.file):
        report(f"  add {choice.called} to {state_dir() / 'models.toml'}")
    why_not = no_service() if service else "--no-service"
    report(f"  install no service: {why_not}" if why_not else "  install a service that serves it")
    raise UsageError(
        "relayd init asks questions, and there is no terminal to answer them on",
        remedy="To have that done, run `relayd init --yes`.\n"
        "To choose, add --for, --model, --no-pull or --no-service.",
    )


def _choose(adviser: Adviser, guide: Guide, use: str, model: str) -> _Choice | None:
    """Return the model that shall run; None if none was chosen.

    Raises:
        UsageError: The model that was named is not known, or does not fit; or none fits.
    """
    if model:
        return _named(adviser, model, use_of(use) if use else None)
    picked = use or guide.choose("\nWhat for?", list(Use))
    if picked is None:
        return None
    wanted = use_of(picked)
    with working("Looking for the best …"):
        three = answer(adviser, Question(use=wanted, count=1)).answers[wanted]
    names = [adviser.called(one.advice.known.name, one.placement) for one in three]
    if guide.asks:
        guide.show("")
        page = answers_page(
            three,
            wanted,
            1,
            lambda one: adviser.called(one.advice.known.name, one.placement),
            lambda one: adviser.file(one.advice.known.name, one.placement) is not None,
        )
        show(lambda _: page, MAIL_COLUMNS)
    if not names and not guide.asks:
        raise UsageError(f"no model for {wanted} suits this machine", remedy="See `relayd recommend`.")
    while name := guide.choose("\nWhich model?", names, others="NAME[:QUANT]"):
        try:
            return _named(adviser, name, wanted)
        except UsageError as error:
            if not guide.asks:
                raise
            guide.show(f"{error.message}\n  {error.remedy}")
    return None


def _named(adviser: Adviser, name: str, use: Use | None) -> _Choice:

    found = answer(adviser, Question(use=use, model=name))
    ((meant, (advice,)),) = found.groups.items()
    placement = advice.outcome
    if not isinstance(placement, Placement):
        raise UsageError(
            f"{advice.known.name} does not fit this machine: {placement}",
            remedy=f"See what would make it fit: `relayd recommend --model {name}`.",
        )
    form, known = placement.form, advice.known.name
    file = adviser.file(known, placement)
    called = adviser.called(known, placement)
    return _Choice(known, form.quantization.name, called, form.nbytes, meant, file)


def _fetch(done: _Done, choice: _Choice, guide: Guide, *, pull: bool, quiet: bool) -> None:
    """Fetch the model, unless it is on this disk or is not wanted now."""
    done.file = choice.file
    if choice.file:
        guide.show(f"{choice.called} is on this disk: {choice.file}")
    elif pull and guide.agrees(f"\nFetch {choice.called}, {show_bytes(choice.size)}?"):
        done.size, done.file = _downloaded(choice, guide, quiet=quiet)
        if done.file:
            guide.show(f"Downloaded {choice.called}: {done.file}")


def _downloaded(choice: _Choice, guide: Guide, *, quiet: bool) -> tuple[int, Path | None]:
    """Return size and path of a model once it is here; None if a person gives up after a failure.

    Raises:
        FetchError: It failed, and no person is there to ask.
    """
    while True:
        try:
            order, record = obtain(choice.called, quiet=quiet, announce=False)
        except FetchError as error:
            if not guide.asks:
                error.remedy = f"{error.remedy}\nRun `relayd init` again: it goes on where it was.".strip()
                raise
            guide.show(f"{error.message}\n{error.remedy}".strip())
            if not guide.agrees("Try again?"):
                guide.show("Nothing is lost: run relayd init again to go on.")
                return 0, None
        else:
            return order.bytes, Path(record.parts[0].path) if record else None


def _keep(done: _Done, choice: _Choice, adviser: Adviser, guide: Guide, *, quiet: bool) -> None:
    """Write the model into models.toml as it was planned, with the engine that it is planned for."""
    if configured_by_hand(choice.called, choice.name):
        guide.show(f"{choice.called} is in your relay.toml already, which stays as it is.")
        return
    if adviser.engine is None:
        if not guide.agrees("\nThere is no llama-server here. Install it?"):
            return
        install_engine(quiet=quiet)
    if guide.agrees(f"\nAdd {choice.called} to the models that relayd serves?"):
        guide.show(_planned(choice).keep(state_dir()))
        done.written = state_dir() / "models.toml"


def _planned(choice: _Choice) -> Recommendations:
    """Return the advice about a model, now that its file is here."""
    with working("Asking the engine …"):
        return answer(gather(instead_of=choice.called), Question(use=choice.use, model=choice.called))
