"""Do messages cross the bus in pieces, is a lost one noticed, and has each role its own subjects?"""

import re

import pytest

from relayd.errors import LinkError, UsageError
from relayd.remote.bus.pieces import PIECE_BYTES, Pieces, closing, is_first, pieces
from relayd.remote.bus.subjects import (
    BusRole,
    check_bus_name,
    down,
    inbox,
    last_parts,
    permissions,
    presence,
    up,
)

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("size", [1, PIECE_BYTES - 9, PIECE_BYTES - 8, 3 * PIECE_BYTES])
def test_a_message_comes_back_whole_and_no_piece_is_too_long(size: int) -> None:
    message, came, number = bytes(range(256)) * (size // 256 + 1), Pieces(), 0
    for _ in range(2):
        found = None
        for piece in pieces(message[:size], number):
            assert len(piece) <= PIECE_BYTES
            assert found is None
            found = came.take(piece)
            number += 1
        assert message[:size] == found


def test_a_lost_piece_is_noticed() -> None:
    first, second, third = pieces(b"x" * 2 * PIECE_BYTES, 0)
    came = Pieces()
    came.take(first)
    with pytest.raises(LinkError, match="lost 1"):
        came.take(third)
    assert is_first(first)
    assert not is_first(second)


def test_the_end_of_a_connection_has_its_reason() -> None:
    assert "drained" == Pieces().take(closing("drained", 7))
    assert not is_first(closing("drained", 0))


@pytest.mark.parametrize("piece", [b"", b"\x01", b"\x09" + bytes(8)])
def test_a_malformed_piece_ends_the_connection(piece: bytes) -> None:
    with pytest.raises(LinkError):
        Pieces().take(piece)


def test_more_than_a_message_is_refused() -> None:
    came = Pieces()
    for number in range(4):
        came.take(bytes((0, *number.to_bytes(8, "big"))) + bytes(PIECE_BYTES - 9))
    last = bytes((0, *(4).to_bytes(8, "big"))) + bytes(PIECE_BYTES - 9)
    with pytest.raises(LinkError, match="more than"):
        came.take(last)


@pytest.mark.parametrize("name", ["", "a.b", "*", ">", "a b", "-a", "a" * 65])
def test_a_name_that_is_no_part_of_a_subject_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        check_bus_name(name)


def matches(pattern: str, subject: str) -> bool:
    whole = re.escape(pattern).replace(r"\*", "[^.]+").replace(">", ".+")
    return re.fullmatch(whole, subject) is not None


def allowed(patterns: tuple[str, ...], subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in patterns)


def test_a_node_reaches_its_own_subjects_and_no_other_ones() -> None:
    mine = permissions(BusRole.NODE, "a")

    assert allowed(mine.publish, up("a", "hub", "s"))
    assert allowed(mine.subscribe, down("a", "hub", "s"))
    assert allowed(mine.subscribe, presence("hub"))
    for subject in (up("b", "hub", "s"), down("a", "hub", "s"), presence("hub")):
        assert not allowed(mine.publish, subject)
    for subject in (down("b", "hub", "s"), up("a", "hub", "s"), f"{inbox('b')}.x"):
        assert not allowed(mine.subscribe, subject)


def test_a_hub_reads_what_is_for_it() -> None:
    mine = permissions(BusRole.HUB, "h")

    assert allowed(mine.subscribe, up("a", "h", "s"))
    assert allowed(mine.publish, down("a", "h", "s"))
    for subject in (up("a", "other", "s"), down("a", "h", "s"), f"{inbox('a')}.x"):
        assert not allowed(mine.subscribe, subject)
    assert not allowed(mine.publish, down("a", "other", "s"))
    assert ("a", "h", "s") == last_parts(up("a", "h", "s"))
