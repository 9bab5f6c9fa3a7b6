"""Which connection is let in, and which one gives way, when there are too many?"""

from dataclasses import dataclass, field

import pytest

from relayd.api.limiter import ConnectionLimiter, ConnectionLimits, Entry, Idleness

pytestmark = pytest.mark.pure

ADMITTED, FOR_HEALTH, REFUSED = Entry.ADMITTED, Entry.FOR_HEALTH, Entry.REFUSED


@dataclass(eq=False)
class Guest:
    """A connection; it leaves the limiter when it is asked to."""

    limiter: ConnectionLimiter
    state: Idleness = Idleness.BUSY
    peer: str = "a"
    closed: bool = field(default=False)

    def enter(self) -> Entry:
        return self.limiter.enter(self, self.peer)

    def idleness(self) -> Idleness:
        return self.state

    def give_way(self) -> None:
        self.closed = True
        self.limiter.leave(self, self.peer)

    def force_close(self) -> None:
        self.closed = True


def limiter(connections: int = 3, per_peer: int = 2) -> ConnectionLimiter:
    return ConnectionLimiter(ConnectionLimits(connections=connections, connections_per_peer=per_peer))


def test_r35_busy_connections_are_counted_in_all_and_by_peer_and_one_that_ends_makes_room() -> None:
    door = limiter()
    first = Guest(door)

    assert [ADMITTED, ADMITTED, FOR_HEALTH] == [one.enter() for one in (first, Guest(door), Guest(door))]
    assert [ADMITTED, FOR_HEALTH] == [Guest(door, peer="b").enter() for _ in range(2)]
    door.leave(first, "a")
    door.leave(first, "a")
    assert [ADMITTED, FOR_HEALTH] == [Guest(door, peer="b").enter(), Guest(door).enter()]


def test_a_trusted_proxy_may_have_as_many_as_there_are() -> None:
    limits = ConnectionLimits(connections=3, connections_per_peer=1)
    door = ConnectionLimiter(limits, lambda peer: peer == "proxy")

    assert [ADMITTED] * 3 + [FOR_HEALTH] == [Guest(door, peer="proxy").enter() for _ in range(4)]


def test_the_oldest_idle_connection_of_a_crowded_peer_gives_way_before_one_in_a_head() -> None:
    door = limiter(connections=9, per_peer=3)
    guests = [Guest(door, state) for state in (Idleness.BUSY, Idleness.IN_HEAD, Idleness.IDLE)]
    other = Guest(door, Idleness.IDLE, peer="b")
    for one in (*guests, other):
        one.enter()

    assert ADMITTED is Guest(door).enter()
    assert [False, False, True, False] == [one.closed for one in (*guests, other)]
    assert ADMITTED is Guest(door).enter()
    assert [False, True, True, False] == [one.closed for one in (*guests, other)]
    assert FOR_HEALTH is Guest(door).enter()


def test_idle_connections_of_any_peer_give_way_when_all_places_are_taken() -> None:
    door = limiter(connections=2, per_peer=2)
    idle = Guest(door, Idleness.IDLE, peer="b")
    for one in (Guest(door), idle):
        one.enter()

    assert (ADMITTED, True) == (Guest(door).enter(), idle.closed)


def test_places_for_health_are_few_and_their_idle_ones_give_way() -> None:
    door = limiter(connections=1, per_peer=1)
    Guest(door).enter()
    kept = [Guest(door) for _ in range(16)]

    assert [FOR_HEALTH] * 16 == [one.enter() for one in kept]
    assert REFUSED is Guest(door).enter()
    kept[3].state = Idleness.IDLE
    assert (FOR_HEALTH, True) == (Guest(door).enter(), kept[3].closed)
    assert "for health=16" in repr(door)


def test_a_quarter_of_the_descriptors_is_left_to_everything_else() -> None:
    few, many = (
        ConnectionLimits.within(count, header_seconds=1, idle_seconds=2) for count in (1024, 1 << 20)
    )

    assert (768, 384) == (few.connections, few.connections_per_peer)
    assert (2048, 1024) == (many.connections, many.connections_per_peer)
