"""How a command may go about what takes long or costs much: whether it may ask, and what it shows."""

import sys
from dataclasses import dataclass

from relayd.cli.support.guide import Guide
from relayd.cli.support.remark import remark


@dataclass(frozen=True, slots=True)
class Manner:
    """How a command may go about it.

    Attributes:
        yes: Whether nothing is asked.
        quiet: Whether no progress is shown.
    """

    yes: bool = False
    quiet: bool = False

    @property
    def asks(self) -> bool:
        """Whether there is a person to ask."""
        return not self.yes and sys.stdin.isatty() and sys.stderr.isatty()

    @property
    def guide(self) -> Guide:
        """What asks them: on standard error, as the answer of a model is the output."""
        return Guide(_ask if self.asks else None, self.note)

    def note(self, text: str) -> None:
        """Show a line on standard error."""
        if not self.quiet:
            remark(text)


def _ask(question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    return input()
