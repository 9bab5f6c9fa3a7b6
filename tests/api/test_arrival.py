"""Does a body end where its head said, in whatever pieces it arrives?"""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.api.arrival import ArrivingBody, BodyEnd, ByChunks, ByLength
from relayd.errors import RequestError

pytestmark = pytest.mark.pure


def feed(end: BodyEnd, *parts: bytes) -> tuple[bytes, bytes, bool]:
    """Return the payload, what is behind the body, and whether it is over."""
    payload: list[bytes] = []
    rest = b""
    for part in parts:
        taken = end.feed(part, payload)
        rest += part[taken:]
    return b"".join(payload), rest, end.is_over


def test_a_declared_length_is_taken_and_no_more() -> None:
    assert (b"abc", b"GET", True) == feed(ByLength(3), b"a", b"bcGET")
    assert (b"", b"GET", True) == feed(ByLength(0), b"GET")
    assert (b"ab", b"", False) == feed(ByLength(3), b"ab")


CHUNKED = b"2\r\nab\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"


@given(st.lists(st.integers(0, len(CHUNKED)), max_size=6))
def test_chunks_are_read_wherever_they_are_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(CHUNKED)]
    parts = [CHUNKED[start:end] for start, end in pairwise(places)]

    assert (b"ab0123456789", b"GET", True) == feed(ByChunks(), *parts, b"GET")


@pytest.mark.parametrize(
    "raw",
    [
        b"0x2\r\n", b"2\nab", b"2\r\nabc\r\n", b"\r\n", b"-1\r\n", b"+1\r\n", b" 2\r\n", b"2 x\r\n", b"g\r\n",
        b"1" * 16 + b"\r\n", b"2;x=y\r\n", b"2;" + b"x" * 600, b"0\r\nno trailer\r\n", b"0\r\n x: y\r\n",
        b"0\r\n" + b"X: 12345678\r\n" * 1000, b"2\r\nab\n",
    ],
)  # fmt: skip
def test_broken_chunks_are_refused(raw: bytes) -> None:
    with pytest.raises(RequestError):
        feed(ByChunks(), raw)


def test_a_body_of_tiny_chunks_has_a_limit() -> None:
    feed(ByChunks(), b"20\r\n" + b"x" * 32 + b"\r\n", b"1\r\nx\r\n" * 10_000)

    with pytest.raises(RequestError):
        feed(ByChunks(), b"1\r\nx\r\n" * 20_000)


def test_a_reader_gets_what_arrived_and_asks_for_more_once_it_has_read() -> None:
    drained: list[bool] = []

    async def scene() -> list[bytes]:
        body = ArrivingBody(lambda: drained.append(True), complete=False)
        body.feed([b"a", b"b"], complete=False)
        seen = []
        async for part in body.iter_any():
            seen.append(part)
            if len(seen) == 1:
                body.feed([b"x" * 300_000], complete=False)
                assert body.is_full
                assert not drained
            elif len(seen) == 2:
                asyncio.get_running_loop().call_soon(lambda: body.feed([b"c"], complete=True))
        return seen

    assert [b"ab", b"x" * 300_000, b"c"] == asyncio.run(scene())
    assert [True] == drained


def test_a_failed_body_fails_its_reader() -> None:
    async def scene() -> None:
        body = ArrivingBody(lambda: None, complete=False)
        asyncio.get_running_loop().call_soon(lambda: body.fail(RequestError("broken")))
        async for _ in body.iter_any():
            pass

    with pytest.raises(RequestError):
        asyncio.run(scene())
