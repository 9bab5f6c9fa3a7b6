"""How a long piece of work tells a person where it is."""

from typing import Protocol


class Progress(Protocol):
    """Told by the work; shows a bar, prints a line now and then, or keeps quiet."""

    def say(self, text: str) -> None:
        """Show one line that stays."""
        ...

    def at(self, label: str, share: float | None) -> None:
        """Show that `label` is done to `share` (0 to 1, None while unknown); called as often as one likes."""
        ...
