"""relayd reload: follow the configuration as it is now."""

from typing import Annotated, Any

import typer

from relayd.cli.act import show_states
from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import AsJson

_PATIENCE_SECONDS = 3600.0


def reload(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Follow the configuration as it is now.

    Only replicas that it changes are started anew.
    """
    answer = daemon_client().post("reload", patience_seconds=_PATIENCE_SECONDS, dry_run=dry_run)
    if not as_json:
        for line in _lines(answer):
            print(line)
    show_states(answer, as_json=as_json)


def _lines(answer: dict[str, Any]) -> list[str]:
    """Return the changes as a person reads them."""
    lines = [
        f"{one['key']}: {one['old']} → {one['new']}{'' if one['live'] else ' (from the next start on)'}"
        for one in answer["settings"]
    ]
    lines += [f"+ {name}" for name in answer["added"]]
    lines += [f"- {name}" for name in answer["removed"]]
    lines += [f"~ {name}: {', '.join(reasons)}" for name, reasons in answer["changed"].items()]
    if not lines:
        return ["nothing has changed"]
    untouched = len(answer["unchanged"])
    return [*lines, f"{untouched} replica{'' if untouched == 1 else 's'} untouched"]
