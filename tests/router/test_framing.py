"""Is the end of a response found, wherever the network cuts it?"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import UpstreamError
from relayd.router.framing import Chunked, Counted, Framing, UntilClose

pytestmark = pytest.mark.pure


def walk(framing: Framing, *parts: bytes) -> int:
    return sum(framing.feed(part) for part in parts)


@given(
    payloads=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    trailers=st.sampled_from([b"", b"X-Sum: 1\r\n", b"A: 1\r\nB: 2\r\n"]),
    cuts=st.lists(st.integers(0, 300)),
    behind=st.binary(max_size=20),
)
def test_chunks_end_at_the_same_byte_however_they_are_cut(
    payloads: list[bytes], trailers: bytes, cuts: list[int], behind: bytes
) -> None:
    raw = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in payloads) + b"0\r\n" + trailers + b"\r\n"
    sent = raw + behind
    edges = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    pieces: list[bytes] = []
    framing = Chunked(pieces)

    taken = walk(framing, *(sent[start:end] for start, end in pairwise(edges)))

    assert framing.over
    assert taken == len(raw)
    assert b"".join(pieces) == b"".join(payloads)


@pytest.mark.parametrize("length", range(len(b"3\r\nabc\r\n0\r\n\r\n")))
def test_chunks_that_are_cut_short_are_not_over(length: int) -> None:
    framing = Chunked()

    framing.feed(b"3\r\nabc\r\n0\r\n\r\n"[:length])

    assert not framing.over


@pytest.mark.parametrize(
    "raw",
    [
        b"zz\r\n",
        b"\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b" 1\r\n",
        b"1 \r\n",
        b"1;extension\r\n",
        b"1\n",
        b"ffffffffffffffff\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n",
        b"3\r\nabc0\r\n\r\n",
        b"f" * 9000,
        b"0\r\nX: " + b"x" * 9000,
    ],
)
def test_chunks_that_leave_doubt_are_refused(raw: bytes) -> None:
    with pytest.raises(UpstreamError):
        walk(Chunked(), *(raw[at : at + 1] for at in range(len(raw))))


def test_a_counted_body_takes_what_was_announced_and_no_more() -> None:
    pieces: list[bytes] = []
    framing = Counted(5, pieces)

    assert (3, 2, 0) == (framing.feed(b"abc"), framing.feed(b"defg"), framing.feed(b"h"))
    assert framing.over
    assert b"".join(pieces) == b"abcde"


def test_a_counted_body_of_nothing_is_over_at_once() -> None:
    assert Counted(0).over


def test_a_body_until_the_close_is_never_over_by_itself() -> None:
    framing = UntilClose()

    assert framing.feed(b"abc") == 3
    assert not framing.over
