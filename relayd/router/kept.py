"""What has passed of an answer that another replica may have to continue?

Its bytes are kept as they passed, and read only when its replica fails, or when there are many of them.
"""

from collections.abc import Mapping

from relayd.router.collect import Collector
from relayd.router.collectors import ChatCollector, NativeCollector, TextCollector
from relayd.router.continuation import AnswerForm, Broken
from relayd.router.framing import Chunked
from relayd.router.message_collector import MessageCollector
from relayd.router.usage import Tap, events_in
from relayd.scheduler.exchange import Usage

_MOST_PIECES = 2048
"""Pieces that are kept as they came, most of them one event: about 0.6 MiB, read in 3 ms."""

_LAST_PIECES = 8
_TAIL_BYTES = 512

_COLLECTORS: Mapping[AnswerForm, type[Collector]] = {
    AnswerForm.CHAT: ChatCollector,
    AnswerForm.TEXT: TextCollector,
    AnswerForm.NATIVE: NativeCollector,
    AnswerForm.MESSAGES: MessageCollector,
}


class KeptAnswer(Tap):
    """Keeps the bytes of a stream in chunks.

    Args:
        form: How the engine writes it.
    """

    __slots__ = ("_collector", "_events", "_kept", "_pieces", "_unread", "_walk")

    def __init__(self, form: AnswerForm) -> None:
        super().__init__()
        self._collector = _COLLECTORS[form]()
        self._events = 0
        self._kept: list[bytes] = []
        self._unread: list[bytes] = []
        self._pieces: list[bytes] = []
        self._walk = Chunked(self._pieces)

    def add(self, raw: bytes) -> None:
        """Take the next piece."""
        kept = self._kept
        kept.append(raw)
        if len(kept) > _MOST_PIECES:
            self._fold()

    @property
    def events(self) -> int:
        """How many events have passed."""
        return self._events + sum(events_in(raw) for raw in (*self._unread, *self._kept))

    def usage(self) -> Usage | None:
        """Return what the bytes say of tokens; None when they name none."""
        self._note()
        return super().usage()

    def ends_with(self, ending: bytes) -> bool:
        """Return whether these are the last bytes so far."""
        self._note()
        return super().ends_with(ending)

    def broken(self) -> Broken:
        """Return what has passed, as the answer has broken off here.

        Raises:
            UpstreamError: It is not the engine's stream.
        """
        self._fold()
        self._collector.cut()
        return Broken.of(self._collector, b"".join(self._last)[-_TAIL_BYTES:])

    @property
    def first(self) -> bytes:
        """The first bytes, framing included."""
        self._note()
        return self._first

    def _note(self) -> None:
        """Keep the first and the last bytes as any other answer does; the others are still to be read."""
        kept = self._kept
        for raw in kept[-_LAST_PIECES:] if self._last else (*kept[:1], *kept[1:][-_LAST_PIECES:]):
            super().add(raw)
        self._unread += kept
        kept.clear()

    def _fold(self) -> None:
        """Read what has passed."""
        self._note()
        self._events = self.events
        for raw in self._unread:
            self._walk.feed(raw)
        self._unread.clear()
        self._collector.feed(b"".join(self._pieces))
        self._pieces.clear()
