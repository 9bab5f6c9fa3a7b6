"""Whether the event loop still turns, and the stack of one that does not (loop watchdog)."""

import asyncio
import sys
import threading
import traceback
from types import TracebackType
from typing import Self

from relayd.clock import Clock
from relayd.journal import Journal


class LoopWatchdog:
    """Writes the loop's stack into the journal when a turn of the loop has taken too long.

    To be entered on the loop's own thread. The process of a blocked loop looks alive to the system,
    and answers no request.

    Args:
        clock: Time.
        stall_seconds: How long a turn may take.
    """

    def __init__(self, clock: Clock, *, stall_seconds: float = 2.0) -> None:
        self._clock = clock
        self._stall_seconds = stall_seconds
        self._beat_seconds = stall_seconds / 4
        self._journal = Journal("daemon")
        self._ended = threading.Event()
        self._loop_thread = threading.get_ident()
        self._last_beat = clock.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._watcher = threading.Thread(target=self._watch, name="loop-watchdog", daemon=True)

    def __repr__(self) -> str:
        age = self._clock.monotonic() - self._last_beat
        return f"<LoopWatchdog: last turn {age:.1f} s ago, {self._stall_seconds:g} s allowed>"

    def __enter__(self) -> Self:
        self._beat()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._watcher.join()
        if self._timer:
            self._timer.cancel()

    def _beat(self) -> None:
        self._last_beat = self._clock.monotonic()
        self._timer = asyncio.get_running_loop().call_later(self._beat_seconds, self._beat)

    def _watch(self) -> None:
        looked = self._clock.monotonic()
        reported = 0.0
        while not self._ended.wait(self._beat_seconds):
            before, looked = looked, self._clock.monotonic()
            if looked - before > self._stall_seconds / 2:
                continue  # this thread was held up as well: the machine slept, or the process was stopped
            beat = self._last_beat
            if beat != reported and looked - beat > self._stall_seconds:
                reported = beat
                self._journal.error("loop.stalled", seconds=looked - beat, stack=self._stack())

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - documented, and there is no other way
        return "".join(traceback.format_stack(frame)) if frame else ""
