"""Does a link carry each stream whole, in order and once, whatever happens to its connections?"""

import contextlib
from collections import defaultdict
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import LinkError
from relayd.remote.frames import (
    DATA_BYTES,
    MESSAGE_BYTES,
    BeatFrame,
    CreditFrame,
    DataFrame,
    DocumentFrame,
    EndFrame,
    FrameKind,
    ResetCode,
    ResetFrame,
    decode,
    encode,
)
from relayd.remote.link import Link, StreamData, StreamEnded, StreamOpened, StreamReset, StreamRoom
from relayd.remote.stream import WINDOW_BYTES

pytestmark = pytest.mark.pure

NUMBERS = st.integers(1, (1 << 32) - 1)
OFFSETS = st.integers(0, (1 << 64) - 1)
FRAMES = st.one_of(
    st.builds(DataFrame, NUMBERS, OFFSETS, st.binary(min_size=1, max_size=300)),
    st.builds(CreditFrame, NUMBERS, OFFSETS, OFFSETS),
    st.builds(EndFrame, NUMBERS, OFFSETS),
    st.builds(ResetFrame, NUMBERS, st.integers(0, (1 << 16) - 1), st.text("äb€", max_size=200)),
    st.builds(BeatFrame, OFFSETS, st.booleans()),
    st.builds(DocumentFrame, st.just(FrameKind.OPEN), NUMBERS, st.binary(max_size=99)),
    st.builds(DocumentFrame, st.just(FrameKind.INVENTORY), st.just(0), st.binary(max_size=99)),
)


@given(st.lists(FRAMES, max_size=9))
def test_what_is_written_is_read(frames: list[DataFrame]) -> None:
    assert frames == list(decode(b"".join(map(encode, frames))))


@given(st.lists(FRAMES, min_size=1, max_size=4), st.data())
def test_a_message_that_was_cut_or_changed_is_read_or_refused(
    frames: list[DataFrame], data: st.DataObject
) -> None:
    message = bytearray(b"".join(map(encode, frames)))
    for _ in range(data.draw(st.integers(0, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(LinkError):
        list(decode(bytes(message[: data.draw(st.integers(0, len(message)))])))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_by_a_link(message: bytes) -> None:
    for is_hub in (True, False):
        link = Link(is_hub=is_hub)
        link.attach(None)
        with contextlib.suppress(LinkError):
            list(link.receive(message))


def test_a_kind_of_a_later_version_is_skipped() -> None:
    later = b"\xc8" + (7).to_bytes(4, "big") + (3).to_bytes(4, "big") + b"new"

    assert [BeatFrame(5)] == list(decode(later + encode(BeatFrame(5))))


@pytest.mark.parametrize(
    "message",
    [
        b"\x05\x00",
        bytes(MESSAGE_BYTES + 1),
        encode(DataFrame(0, 0, b"x")),
        encode(DataFrame(1, 0, b"")),
        encode(DataFrame(1, 0, bytes(DATA_BYTES + 1))),
        encode(DocumentFrame(FrameKind.OPEN, 0, b"{}")),
        encode(DocumentFrame(FrameKind.HELLO, 1, b"{}")),
        encode(DocumentFrame(FrameKind.HELLO, 0, bytes(300_000))),
        encode(EndFrame(1, 5))[:-1],
    ],
)
def test_what_breaks_the_rules_is_refused(message: bytes) -> None:
    with pytest.raises(LinkError):
        list(decode(message))


class Ends:
    """A hub's and a node's end of one link, and what each side got.

    Attributes:
        got: Of each end (the hub's first): stream → bytes.
        over: Of each end: the streams whose end, or reset, has come.
    """

    def __init__(self) -> None:
        self.hub, self.node = Link(is_hub=True), Link(is_hub=False)
        self.got = defaultdict[int, bytes](bytes), defaultdict[int, bytes](bytes)
        self.over: tuple[dict[int, str], dict[int, str]] = {}, {}
        self.hub.attach(None)
        self.node.attach(None)

    def turn(self, side: int, *, arrives: bool = True) -> bool:
        """Send one message of a side, which arrives or is lost; return whether there was one."""
        sender, receiver = (self.hub, self.node)[side], (self.node, self.hub)[side]
        message = sender.outgoing()
        if message and arrives:
            for event in receiver.receive(message):
                self._note(1 - side, receiver, event)
        return bool(message)

    def settle(self) -> None:
        """Exchange messages until there is nothing to send."""
        while self.turn(0) | self.turn(1):
            pass

    def reconnect(self) -> None:
        """Break the connection, and make another one."""
        self.hub.detach()
        self.node.detach()
        hub, node = self.hub.points(), self.node.points()
        for side, lost in ((0, self.hub.attach(node)), (1, self.node.attach(hub))):
            for event in lost:
                self.over[side][event.stream] = f"lost {event.code}"

    def _note(self, side: int, link: Link, event: object) -> None:
        match event:
            case StreamData(number, data):
                self.got[side][number] += data
                link.consume(number, len(data))
            case StreamEnded(number):
                assert number not in self.over[side]
                self.over[side][number] = "ended"
            case StreamReset(number, code, _):
                self.over[side][number] = f"reset {code}"
            case StreamOpened(number):
                assert number not in self.got[side]


@given(st.integers(0, 1 << 32), st.integers(0, 6))
def test_streams_arrive_whole_over_connections_that_break(seed: int, breaks: int) -> None:
    random, ends = Random(seed), Ends()
    sent = defaultdict[int, bytes](bytes), defaultdict[int, bytes](bytes)
    numbers = [ends.hub.open(b"{}") for _ in range(random.randrange(1, 5))]
    steps = random.randrange(5, 30)
    broken = set(random.sample(range(steps), min(breaks, steps)))
    opened = set[int]()
    for step in range(steps):
        number, side = random.choice(numbers), random.randrange(2)
        link = (ends.hub, ends.node)[side]
        if side == 0 or number in opened:
            piece = random.randbytes(random.choice((1, 200, 20_000, 150_000)))
            link.write(number, piece)
            sent[side][number] += piece
        if step in broken:
            for side in (0, 1):
                ends.turn(side, arrives=random.random() < 0.5)
            ends.reconnect()
        elif random.random() < 0.7:
            ends.turn(random.randrange(2))
        opened = {number for number in numbers if number in ends.node._streams}
    ends.settle()
    for number in numbers:
        ends.hub.end(number)
        ends.node.end(number)
    ends.turn(0, arrives=breaks == 0)
    ends.reconnect()
    ends.settle()

    for side in (0, 1):
        for number in numbers:
            assert sent[side][number] == ends.got[1 - side][number]
            assert "ended" == ends.over[1 - side][number]
    assert (0, 0) == (len(ends.hub), len(ends.node))


def test_a_reader_that_takes_nothing_stops_only_its_own_stream() -> None:
    ends = Ends()
    slow, fast = ends.hub.open(b"{}"), ends.hub.open(b"{}")
    ends.turn(0)
    ends.node.write(slow, bytes(3 * WINDOW_BYTES))
    ends.node.write(fast, bytes(3 * WINDOW_BYTES))
    came = {slow: 0, fast: 0}

    while message := ends.node.outgoing():
        for event in ends.hub.receive(message):
            if isinstance(event, StreamData):
                came[event.stream] += len(event.data)
                if event.stream == fast:
                    ends.hub.consume(fast, len(event.data))
        ends.turn(0)

    assert {slow: WINDOW_BYTES, fast: 3 * WINDOW_BYTES} == came


def test_more_than_there_is_credit_for_is_refused() -> None:
    ends = Ends()
    number = ends.hub.open(b"{}")
    ends.turn(0)
    flood = b"".join(
        encode(DataFrame(number, at, bytes(DATA_BYTES))) for at in range(0, WINDOW_BYTES + 1, DATA_BYTES)
    )

    with pytest.raises(LinkError, match="there was credit up to"):
        list(ends.hub.receive(flood))


@pytest.mark.parametrize("frame", [DataFrame(1, 5, b"gap"), EndFrame(1, 9), CreditFrame(1, 9, 9)])
def test_bytes_that_were_left_out_are_noticed(frame: DataFrame) -> None:
    ends = Ends()
    ends.hub.open(b"{}")
    ends.turn(0)

    with pytest.raises(LinkError):
        list(ends.node.receive(encode(frame)))


def test_a_number_is_not_used_twice() -> None:
    ends = Ends()
    ends.hub.open(b"{}")
    ends.turn(0)

    with pytest.raises(LinkError, match="was opened"):
        list(ends.node.receive(encode(DocumentFrame(FrameKind.OPEN, 1, b"{}"))))


def test_a_reset_ends_a_stream_at_both_sides_and_no_other() -> None:
    ends = Ends()
    first, second = ends.hub.open(b"{}"), ends.hub.open(b"{}")
    ends.settle()
    ends.node.write(first, b"on its way")
    ends.hub.reset(first, ResetCode.CANCELLED, "the client left")
    ends.settle()

    assert {first: f"reset {ResetCode.CANCELLED:d}"} == ends.over[1]
    assert (1, 1) == (len(ends.hub), len(ends.node))
    ends.node.write(second, b"whole")
    ends.settle()
    assert b"whole" == ends.got[0][second]


def test_a_stream_that_one_side_forgot_is_lost_on_the_other() -> None:
    ends = Ends()
    ends.hub.open(b"{}")
    ends.settle()
    ends.node.lose_all()

    ends.reconnect()
    ends.settle()

    assert {1: f"reset {ResetCode.LOST:d}"} == ends.over[0]


def test_a_node_that_restarted_loses_what_the_hub_had_open() -> None:
    ends = Ends()
    ends.hub.open(b"{}")
    ends.settle()
    ends.hub.detach()

    assert [StreamReset(1, ResetCode.LOST, "the link to the node was lost")] == ends.hub.attach(None)


def test_room_is_reported_when_what_waited_is_on_its_way() -> None:
    ends = Ends()
    number = ends.hub.open(b"{}")
    ends.settle()

    assert 2 * WINDOW_BYTES == ends.node.write(number, bytes(2 * WINDOW_BYTES))
    while message := ends.node.outgoing():
        for event in ends.hub.receive(message):
            if isinstance(event, StreamData):
                ends.hub.consume(number, len(event.data))

    assert [StreamRoom(number)] * 2 == [
        event for event in ends.node.receive(ends.hub.outgoing()) if isinstance(event, StreamRoom)
    ]
