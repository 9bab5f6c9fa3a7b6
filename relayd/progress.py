"""Progress of long work, as a protocol."""

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of work; shows a bar, prints a line now and then, or nothing."""

    def say(self, text: str) -> None:
        """Show one line that stays."""
        ...

    def at(self, label: str, share: float | None) -> None:
        """Show that `label` is done to `share` (0 to 1, None while unknown); may be called often."""
        ...
