"""A group of commands that lists when it is called alone, or with what is not a command."""

from typing import Any, ClassVar

from typer.core import TyperGroup


class ListByDefault(TyperGroup):
    """`relayd models FILTER` lists: arguments that name no command belong to `list`."""

    default: ClassVar[str] = "list"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default before arguments that name no command."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = [self.default, *args]
        return super().parse_args(ctx, args)
