"""Exit watch: how the event loop learns that a process has ended.

Linux has pidfds, macOS has kqueue; both work for children and for processes that are not.
"""

import asyncio
import errno
import os
import select
import sys
from collections.abc import Callable
from functools import partial

_RETRY_SECONDS = 0.5


class ExitWatch:
    """Calls back once, from the event loop, when a process ends or if it is gone already.

    Without a free descriptor it tries again: until it is reaped, an ended child can be watched.
    """

    def __init__(self, pid: int, callback: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._pid = pid
        self._callback = callback
        self._close: Callable[[], None] = lambda: None
        self._begin()

    def close(self) -> None:
        """Stop watching."""
        self._close()
        self._close = lambda: None

    def _begin(self) -> None:
        try:
            descriptor, close = _open(self._pid)
        except ProcessLookupError:
            self._close = self._loop.call_soon(self._ended).cancel
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            self._close = self._loop.call_later(_RETRY_SECONDS, self._begin).cancel
        else:
            self._loop.add_reader(descriptor, self._ended)
            self._close = partial(self._release, descriptor, close)

    def _release(self, descriptor: int, close: Callable[[], None]) -> None:
        self._loop.remove_reader(descriptor)
        close()

    def _ended(self) -> None:
        self.close()
        self._callback()


def _open(pid: int) -> tuple[int, Callable[[], None]]:
    """Return a descriptor that is readable once the process has ended, and how to close it."""
    if sys.platform == "darwin":
        queue = select.kqueue()
        ended = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
        try:
            queue.control([ended], 0)
        except OSError:
            queue.close()
            raise
        return queue.fileno(), queue.close
    descriptor = os.pidfd_open(pid)
    return descriptor, lambda: os.close(descriptor)
