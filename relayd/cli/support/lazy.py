"""A group of commands whose modules are imported when a command runs (lazy imports, startup time).

`--help` and completion of command names read the table alone, so their time does not grow with what the
commands import.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from typer.core import TyperCommand, TyperGroup

from relayd.cli.support.listed import LazyCommand


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
