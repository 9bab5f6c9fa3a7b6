"""A group of commands whose modules are imported when a command runs (lazy imports, startup time).

`--help` and completion of command names read the table alone, so their time does not grow with what the
commands import.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class LazyCommand:
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
        """Import the module and return the command under a name."""
        found = getattr(importlib.import_module(self.module), self.attribute)
        carrier = typer.Typer(rich_markup_mode=None)
        if isinstance(found, typer.Typer):
            carrier.add_typer(found, name=name)
        else:
            carrier.command(name)(found)
        return typer.main.get_group(carrier).commands[name]


class LazyGroup(TyperGroup):
    """Lists its commands from a table, and imports one only to run it or to complete its arguments."""

    lazy: ClassVar[Mapping[str, LazyCommand]] = {}

    def __init__(self, *, commands: Any = None, **settings: Any) -> None:
        listed = {name: TyperCommand(name, help=one.summary) for name, one in self.lazy.items()}
        super().__init__(commands={**listed, **(commands or {})}, **settings)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that the arguments name, imported, and the arguments after its name."""
        name, command, rest = super().resolve_command(ctx, args)
        listed = self.lazy.get(name or "")
        return name, listed.load(str(name)) if listed else command, rest
