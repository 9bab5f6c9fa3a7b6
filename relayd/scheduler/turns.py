"""How long does a model in use keep its memory while another one waits for it (turns)?

A replica that is to give way still gets `swap_batch_requests` requests, for `swap_turn_seconds`; whichever is
used up first ends its turn, but not before it has been in memory for `min_resident_seconds`. It then finishes
what it works on and leaves. Without work it leaves as soon as it is old enough. The wait limit of a request
that waits for the memory ends the turn at once, when the load would otherwise come too late for it.
"""

import math
from collections.abc import Mapping

from relayd.scheduler.capacity import Capacity
from relayd.scheduler.floor import Floor
from relayd.scheduler.grants import GrantAsk
from relayd.scheduler.residency import LastTurn, Residency


class Turns:
    """Begins, limits and ends the turns of replicas that are to give way.

    Args:
        floor: What is known of memory.
    """

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def __repr__(self) -> str:
        return f"<Turns: {sum(one.turn is not None for one in self._floor.present)} give way>"

    def assign(self, victims: Mapping[str, GrantAsk], now: float) -> list[str]:
        """Let these replicas give way, and those that no longer have to stay.

        Args:
            victims: Who is to leave → the question that needs it.
            now: Monotonic seconds.

        Returns:
            The models of replicas that take work again.
        """
        opened = list[str]()
        for one in self._floor.present:
            capacity, question = self._floor.capacity(one), victims.get(one.name)
            if question is not None and capacity is not None:
                one.turn = one.turn or LastTurn(question.replica, now, capacity.served)
                one.turn.asker, one.turn.is_urgent = question.replica, question.is_urgent
            elif one.turn is not None and one.leaving is None:
                one.turn = None
                if capacity is not None:
                    capacity.stay()
                opened.append(one.model)
        return opened

    def over(self, now: float) -> list[Residency]:
        """Limit what replicas in their last turn still get, and return those that can leave now."""
        gone = list[Residency]()
        for one in self._floor.present:
            capacity = self._floor.capacity(one)
            if one.turn is None or capacity is None or one.leaving is not None:
                continue
            if self._old_at(one) > now:
                continue
            if not capacity.running:
                gone.append(one)
            elif capacity.accepting or capacity.last_of_turn is None:
                self._limit(one.turn, capacity, now)
        return gone

    def due(self, now: float) -> float:
        """Return when time alone ends a turn, or lets a replica leave (monotonic seconds)."""
        return min((self._due(one, now) for one in self._floor.present if one.turn), default=math.inf)

    def _due(self, one: Residency, now: float) -> float:
        old_at, turn = self._old_at(one), one.turn
        if old_at > now or turn is None:
            return old_at
        capacity = self._floor.capacity(one)
        is_open = capacity is not None and capacity.accepting
        return turn.since + self._floor.policy.swap_turn_seconds if is_open else math.inf

    def _old_at(self, one: Residency) -> float:
        """Return when a replica has been in memory for long enough."""
        if one.turn is not None and one.turn.is_urgent:
            return -math.inf
        return one.loaded_at + self._floor.policy.min_resident_seconds

    def _limit(self, turn: LastTurn, capacity: Capacity, now: float) -> None:
        policy = self._floor.policy
        is_over = turn.is_urgent or turn.since + policy.swap_turn_seconds <= now
        rest = policy.swap_batch_requests - (capacity.served - turn.served)
        capacity.give_way(0 if is_over else max(0, rest))
