"""relayd reload: follow the configuration as it is now."""

from typing import Annotated

import typer

from relayd.cli.act import show_states
from relayd.cli.support.control import carried_on
from relayd.cli.support.output import AsJson
from relayd.daemon.report import ReloadReport


def reload(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read the settings again, and apply what has changed.

    Only replicas that it changes are started anew.
    """
    with carried_on() as daemon:
        done = daemon.reload(dry_run=dry_run)
    if not as_json:
        for line in _lines(done):
            print(line)
    show_states(done, as_json=as_json)


def _lines(done: ReloadReport) -> list[str]:
    """Return the changes as lines of text."""
    lines = [
        f"{one.key}: {one.old} → {one.new}{'' if one.live else ' (from the next start on)'}"
        for one in done.settings
    ]
    lines += [f"+ {name}" for name in done.added]
    lines += [f"- {name}" for name in done.removed]
    lines += [f"~ {name}: {', '.join(reasons)}" for name, reasons in done.changed.items()]
    lines += [f"{model}: {', '.join(changes)}, without a restart" for model, changes in done.models.items()]
    if not lines:
        return ["nothing has changed"]
    untouched = len(done.unchanged)
    return [*lines, f"{untouched} replica{'' if untouched == 1 else 's'} untouched"]
