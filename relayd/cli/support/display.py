"""Progress of long work: a spinner, a bar, or lines outside a terminal."""

import contextlib
from contextlib import AbstractContextManager

from rich.console import Console

from relayd.cli.support.terminal import working
from relayd.clock import SystemClock
from relayd.engine import Progress
from relayd.ui.engine import shown_progress


class ConsoleDisplay:
    """Shows work on standard error.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def doing(self, what: str) -> AbstractContextManager[None]:
        """Show a sentence on a terminal while the block runs."""
        return contextlib.nullcontext() if self._quiet else working(what)

    def progress(self) -> AbstractContextManager[Progress]:
        """Lend a bar on a terminal, elsewhere a line now and then."""
        return shown_progress(Console(stderr=True, quiet=self._quiet), SystemClock().monotonic)
