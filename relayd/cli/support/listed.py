"""A command that is listed by its name and summary, and imported when it runs; the list needs no typer."""

import gc
import importlib
from typing import Any, NamedTuple


class LazyCommand(NamedTuple):
    """Where a command is, and the line that `--help` of its group shows for it.

    Args:
        module: Dotted name of the module.
        attribute: The function of the command, or the `typer.Typer` of a group.
        summary: First line of the command's own help.
    """

    module: str
    attribute: str
    summary: str

    def load(self, name: str) -> Any:
        """Import the module and return the command under a name.

        Nothing that an import makes is garbage: looks for it take 13 % of what `serve` takes to import [M].
        """
        gc.disable()
        try:
            import typer
            import typer.main

            found = getattr(importlib.import_module(self.module), self.attribute)
        finally:
            gc.enable()
        carrier = typer.Typer(rich_markup_mode=None)
        if isinstance(found, typer.Typer):
            carrier.add_typer(found, name=name)
        else:
            carrier.command(name)(found)
        return typer.main.get_group(carrier).commands[name]
