"""Progress of long work: a spinner, a bar, or lines outside a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from relayd.clock import SystemClock
from relayd.progress import Progress


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

    @contextlib.contextmanager
    def progress(self) -> Iterator[Progress]:
        """Lend a bar on a terminal, elsewhere a line now and then."""
        with contextlib.ExitStack() as stack:
            yield _DeferredProgress(lambda: stack.enter_context(self._shown()))

    def _shown(self) -> AbstractContextManager[Progress]:
        from rich.console import Console

        from relayd.ui.engine import shown_progress

        return shown_progress(Console(stderr=True, quiet=self._quiet), SystemClock().monotonic)


class _DeferredProgress:
    """Progress that is shown from its first report on; mostly there is none, and nothing is loaded for it.

    Args:
        show: Begins to show it.
    """

    def __init__(self, show: Callable[[], Progress]) -> None:
        self._show = show
        self._progress: Progress | None = None

    def __repr__(self) -> str:
        return f"<_DeferredProgress: {self._progress or 'nothing reported'}>"

    def say(self, text: str) -> None:
        self._begun().say(text)

    def at(self, label: str, share: float | None) -> None:
        self._begun().at(label, share)

    def _begun(self) -> Progress:
        if self._progress is None:
            self._progress = self._show()
        return self._progress
