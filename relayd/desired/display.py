"""How a maker of plans reports what takes long, without knowing who looks (progress callbacks)."""

import contextlib
from contextlib import AbstractContextManager
from typing import Protocol

from relayd.progress import Progress


class Display(Protocol):
    """Shows what is being done; the command line has one for consoles."""

    def doing(self, what: str) -> AbstractContextManager[None]:
        """Show a sentence while the block runs."""
        ...

    def progress(self) -> AbstractContextManager[Progress]:
        """Lend a progress for work with a known share: an installation, a copy."""
        ...


class Silent:
    """Shows nothing: for daemons, and for commands whose output a program reads."""

    def doing(self, what: str) -> AbstractContextManager[None]:  # noqa: ARG002 - the name is the protocol's
        """Show nothing."""
        return contextlib.nullcontext()

    def progress(self) -> AbstractContextManager[Progress]:
        """Lend a progress that shows nothing."""
        return contextlib.nullcontext(_NoProgress())


class _NoProgress:
    def say(self, text: str) -> None:
        """Show nothing."""

    def at(self, label: str, share: float | None) -> None:
        """Show nothing."""
