"""Progress of long work: a spinner, a bar, or lines outside a terminal."""

import contextlib
import sys
from contextlib import AbstractContextManager

from relayd.clock import SystemClock
from relayd.engine import Progress


class ConsoleDisplay:
    """Shows work on standard error.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def doing(self, what: str) -> AbstractContextManager[None]:
        """Show a sentence on a terminal while the block runs."""
        if self._quiet or not sys.stderr.isatty():
            return contextlib.nullcontext()  # without rich, which a daemon would keep: 2.4 MB
        from relayd.cli.support.terminal import working

        return working(what)

    def progress(self) -> AbstractContextManager[Progress]:
        """Lend a bar on a terminal, elsewhere a line now and then."""
        from rich.console import Console

        from relayd.ui.engine import shown_progress

        return shown_progress(Console(stderr=True, quiet=self._quiet), SystemClock().monotonic)
