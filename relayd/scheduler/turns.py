"""How long does a model in use keep its memory while another one waits for it (turns)?

A replica that is to give way still gets `swap_batch_requests` requests, for `swap_turn_seconds`; whichever is
used up first ends its turn. It then finishes what it works on and leaves; without work it leaves at once.

A model that it took the memory from has it back only after `min_resident_seconds`, also when it is idle: so
two models whose clients pause do not swap for each answer. Any other model need not wait for that: what was
loaded for one answer gives way as soon as it has given it. Both times are at least as long as a load takes,
else a slow disk would do nothing but load. The wait limit of a request that waits for the memory ends both at
once, when the load would otherwise come too late for it. A replica that works on nothing but lines of batches
has no turn: they give their slots back.
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
                one.turn.asker = question.replica
                one.turn.waits_for_age = question.waits_for_age_of(one.name)
                one.turn.is_urgent = question.is_urgent
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
                self._limit(one, one.turn, capacity, now)
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
        return self.ends_at(one) if is_open else math.inf

    def _old_at(self, one: Residency) -> float:
        """Return when a replica has been in memory for long enough."""
        if one.turn is not None and not one.turn.waits_for_age:
            return -math.inf
        return self._floor.old_at(one)

    def ends_at(self, one: Residency) -> float:
        """Return when the last turn of a replica is over (monotonic seconds); in the past without one."""
        if one.turn is None or one.turn.is_urgent or self._floor.works_on_lines(one):
            return -math.inf
        return one.turn.since + self._floor.policy.turn_seconds(self._floor.load_seconds(one))

    def _limit(self, one: Residency, turn: LastTurn, capacity: Capacity, now: float) -> None:
        is_over = self.ends_at(one) <= now
        rest = self._floor.policy.swap_batch_requests - (capacity.served - turn.served)
        capacity.give_way(0 if is_over else max(0, rest))
