"""relayd completions: the script by which a shell completes commands, options and names."""

from enum import StrEnum
from typing import Annotated

import typer

from relayd.cli.support.output import print_json


class Shell(StrEnum):
    """Shells that relayd has a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


_WHERE = {
    Shell.BASH: "relayd completions bash > ~/.local/share/bash-completion/completions/relayd",
    Shell.ZSH: "relayd completions zsh > ~/.zfunc/_relayd, a folder of fpath before compinit",
    Shell.FISH: "relayd completions fish > ~/.config/fish/completions/relayd.fish",
    Shell.POWERSHELL: "relayd completions powershell >> $PROFILE",
}


def completions(
    shell: Annotated[Shell, typer.Argument(help="The shell that reads it.")],
    where: Annotated[bool, typer.Option("--where", help="Print where its output belongs instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: shell, where, script.")] = False,
) -> None:
    """Print the completion script for a shell.

    For bash: relayd completions bash > ~/.local/share/bash-completion/completions/relayd

    Names of models come from the running daemon.
    """
    if where and not as_json:
        typer.echo(_WHERE[shell])
        return
    from typer._completion_shared import get_completion_script

    given = {"prog_name": "relayd", "complete_var": "_RELAYD_COMPLETE", "shell": shell.value}
    script = get_completion_script(**given)
    if as_json:
        print_json({"shell": shell.value, "where": _WHERE[shell], "script": script})
    else:
        typer.echo(script)
