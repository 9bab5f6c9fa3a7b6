"""What has passed of an answer that another replica may have to continue?

Its bytes are kept as they passed, and read only when its replica fails, or when there are many of them.
"""

from collections.abc import Iterable, Mapping

from relayd.router.collect import Collector
from relayd.router.collectors import ChatCollector, NativeCollector, TextCollector
from relayd.router.continuation import FORMS, AnswerForm, Broken
from relayd.router.estimate import SeveralTap
from relayd.router.framing import Chunked
from relayd.router.headers import Call, Head
from relayd.router.message_collector import MessageCollector
from relayd.router.usage import CountingTap, SummingTap, Tap, events_in
from relayd.scheduler.exchange import Usage

MOST_KEPT = 15
"""Pieces that are kept as they came, most of them one event; of more, joined ones take 40 bytes less each."""

_MOST_JOINED = 128
"""Joined pieces that are kept unread: about 0.5 MiB, read in 3 ms."""

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

    __slots__ = ("_events", "_form", "_joined", "_read", "_unread", "kept")

    kept: list[bytes]  # type: ignore[misc]  # each has a list of its own here

    def __init__(self, form: AnswerForm) -> None:
        super().__init__()
        self.kept = []
        self._form = form
        self._events = 0
        self._joined: list[bytes] = []
        self._unread: list[bytes] = []
        self._read: _ReadAnswer | None = None  # most answers are never read

    def add(self, raw: bytes) -> None:
        """Take the next piece."""
        self.kept.append(raw)
        if len(self.kept) > MOST_KEPT:
            self.pack()

    def pack(self) -> None:
        """Join what is kept, and read all that has passed once it is much."""
        self._joined.append(b"".join(self.kept))
        self.kept.clear()
        if len(self._joined) > _MOST_JOINED:
            self.fold()

    @property
    def events(self) -> int:
        """How many events have passed."""
        return self._events + sum(events_in(raw) for raw in (*self._unread, *self._joined, *self.kept))

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
        self.fold()
        collector = self._reader().collector
        collector.cut()
        return Broken.of(collector, b"".join(self._last)[-_TAIL_BYTES:])

    @property
    def first(self) -> bytes:
        """The first bytes, framing included."""
        self._note()
        return self._first

    def _note(self) -> None:
        """Keep the first and the last bytes as any other answer does; the others are still to be read."""
        kept = [*self._joined, *self.kept] if self._joined else self.kept
        for raw in kept[-_LAST_PIECES:] if self._last else (*kept[:1], *kept[1:][-_LAST_PIECES:]):
            super().add(raw)
        self._unread += kept
        self._joined.clear()
        self.kept.clear()

    def fold(self) -> None:
        """Read what has passed."""
        self._note()
        self._events = self.events
        self._reader().feed(self._unread)
        self._unread.clear()

    def _reader(self) -> "_ReadAnswer":
        if self._read is None:
            self._read = _ReadAnswer(_COLLECTORS[self._form]())
        return self._read


def tap_of(call: Call, head: Head, *, several: bool, may_continue: bool) -> Tap:
    """Return what reads an answer while it passes.

    Args:
        call: What the replica got.
        head: Of the answer.
        several: It takes several slots: there are several prompts, or choices.
        may_continue: Another replica may continue it, so that it is to be kept.
    """
    form = FORMS.get(call.path)
    if not call.answers_events:
        return SeveralTap(call) if several and form is not None else Tap()
    if several:
        return SummingTap()
    return KeptAnswer(form) if form is not None and may_continue and head.chunked else CountingTap()


class _ReadAnswer:
    """What was read of an answer: its events, freed of their framing."""

    __slots__ = ("_pieces", "_walk", "collector")

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self._pieces: list[bytes] = []
        self._walk = Chunked(self._pieces)

    def feed(self, raw: Iterable[bytes]) -> None:
        """Read the next pieces."""
        for piece in raw:
            self._walk.feed(piece)
        self.collector.feed(b"".join(self._pieces))
        self._pieces.clear()
