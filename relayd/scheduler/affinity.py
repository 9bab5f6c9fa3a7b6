"""Which replica answers soonest, where some have read the prompt before (prefix affinity)?

A replica costs a request, in seconds,

    wait      until one of its slots is free; 0 where one is
  + pending   prompts that it reads already
  + reading   what it has not read of this prompt, at the rate it has shown
  + harm      to the streams that it writes, which stand still for a part of the reading
  + crowding  of this answer by those streams

The cheapest replica gets the request. Is that one busy, the request is held for it while others pass, for
`max_hold_seconds` at most: reading a long prompt again would take longer than waiting, and would push another
conversation out of a cache. It is decided anew whenever something starts or ends.

Until rates are known, the product of unread bytes and requests at work decides (LMetric). A request without
fingerprints (embeddings, documents to rank) gets the least busy replica.
"""

from collections.abc import Mapping, Sequence
from heapq import nlargest
from itertools import compress, repeat
from operator import attrgetter

import msgspec

from relayd.scheduler.ask import BACKGROUND
from relayd.scheduler.capacity import Capacity
from relayd.scheduler.exchange import Exchange, Usage
from relayd.scheduler.prefixes import COVERED, PrefixIndex, covered
from relayd.scheduler.rates import Rates
from relayd.scheduler.waiting import Choice, Hold, Waiting

_LOAD = attrgetter("load")

_HARM = 0.1
"""How much a second of reading counts for each stream that is written meanwhile."""

_CROWDING = 0.05
"""By how much each stream beside it slows an answer down."""

_NEAR = 1.2
"""Costs up to so many times the least count as equal, as estimates are not exact: the least busy wins."""

_WORTH_HOLDING = 0.7
"""A held request must gain this: the busy replica costs at most that share of the best free one."""

_OVERDUE_SHARE = 0.25
"""What is left of an answer that takes longer than expected, as a share of what it has taken."""

_MOST_COMPARED = 16
"""Replicas that are compared in full; of more, the warmest and the least busy."""

_MOST_SESSIONS = 4096
"""Sessions whose last replica is remembered."""

_MISSED_TOKENS = 64
"""Tokens by which a cache may fall short of what was expected: a template's own words, the last block."""

_LEAVING_SECONDS = 0.1
"""How long it takes until a line of a batch has given its slot away."""

_LEAST_LOOK = 0.05
"""Seconds before a hold is looked at again."""

_ALL_MISSED = 0.1
"""Up to which share of what was expected a cache held nothing of a prompt but what all begin with."""

_NONE: Mapping[Capacity, int] = {}
_NO_BYTES = repeat(0)


class _Run(msgspec.Struct, eq=False):
    """A request at work."""

    started: float
    ends: float
    expected_bytes: int
    reads_alone: bool
    continues: bool
    gives_way: bool


class _Work(msgspec.Struct, eq=False):
    """What one replica has to do, as far as that is estimated, and how fast it does it.

    What a cost is made of changes with a start or an end only, and is compared much more often.

    Attributes:
        runs: Requests at work, by their tickets.
        reads_until: When all prompts that it has are read (monotonic seconds).
        byte_seconds: How long it takes to read a byte of a prompt; 0 while that is not known.
        answer_seconds: How long it takes to write an answer.
        slope: What a byte costs that is to be read now, with the harm to the streams that run.
        slope_behind: The same of one that is read behind other prompts, one of the requests at work.
        crowding: By how much the streams beside it slow an answer down (seconds).
    """

    runs: dict[int, _Run]
    reads_until: float = 0.0
    byte_seconds: float = 0.0
    answer_seconds: float = 0.0
    slope: float = 0.0
    slope_behind: float = 0.0
    crowding: float = 0.0

    def weigh(self) -> None:
        """Follow a change of what runs, or of the rates."""
        runs, byte_seconds = len(self.runs), self.byte_seconds
        self.slope = byte_seconds * (1 + _HARM * runs)
        self.slope_behind = byte_seconds * (1 + _HARM * (runs - 1)) if runs else byte_seconds
        self.crowding = _CROWDING * self.answer_seconds * runs

    def wait(self, ahead: int, now: float, *, lines_leave: bool) -> float:
        """Return in how many seconds the slot after the next `ahead` ones is free.

        Args:
            ahead: How many are taken before.
            now: Monotonic seconds.
            lines_leave: Whether lines of batches give their slots to who waits.
        """
        left = sorted(
            _LEAVING_SECONDS
            if lines_leave and one.gives_way
            else max(one.ends - now, _OVERDUE_SHARE * (now - one.started))
            for one in self.runs.values()
        )
        if not left:
            return 0.0
        rounds, at = divmod(ahead, len(left))
        return left[at] + rounds * left[-1]

    def cost(self, unread_bytes: int, now: float, wait: float) -> float:
        """Return what a request costs whose slot is free in `wait` seconds."""
        pending = self.reads_until - now - wait
        if pending > 0:
            return wait + pending + unread_bytes * self.slope_behind + self.crowding
        return wait + unread_bytes * self.slope + self.crowding


class PrefixAffinity:
    """Chooses by cost in seconds over all replicas of one model, busy ones too.

    Args:
        max_hold_seconds: How long a request may be held for a replica that is busy.
    """

    def __init__(self, max_hold_seconds: float = 20.0) -> None:
        self.rates = Rates()
        self._max_hold_seconds = max_hold_seconds
        self._index = PrefixIndex()
        self._work: dict[Capacity, _Work] = {}
        self._sessions: dict[str, Capacity] = {}

    def __repr__(self) -> str:
        return f"<PrefixAffinity {self._index!r} {self.rates!r}>"

    def pick(self, free: Sequence[Capacity]) -> Capacity:
        """Return the least busy replica, for a request without fingerprints."""
        return min(free, key=_LOAD)

    def choose(
        self,
        waiting: Waiting,
        free: Sequence[Capacity],
        busy: Sequence[Capacity],
        now: float,
        ahead: Mapping[Capacity, int] = _NONE,
    ) -> Choice:
        """Return where a ticket with fingerprints runs, or what it is held for.

        Args:
            waiting: The ticket.
            free: The replicas that have slots for it, at least one.
            busy: Those that it may be held for.
            now: Monotonic seconds.
            ahead: How many tickets in front are held for a replica.
        """
        chain = waiting.ticket.ask.prefix
        warm = waiting.warm = self._index.find(chain)
        length = chain[-1] & COVERED
        compared = free if len(free) <= _MOST_COMPARED else _narrowed(free, warm)
        works = self._works_of(compared)
        if not works[0].byte_seconds:  # a new one costs nothing until its first answer is over: each is tried
            return _of_least_product(compared, warm, length)
        costs = [  # as `_Work.cost` does, which is a call for each
            (length - read) * work.slope + work.crowding
            if work.reads_until <= now
            else work.reads_until - now + (length - read) * work.slope_behind + work.crowding
            for work, read in zip(works, map(warm.get, compared, _NO_BYTES), strict=True)
        ]
        most = _NEAR * (least := min(costs))
        near = [*compress(compared, map(most.__ge__, costs))]
        if len(near) == 1:
            chosen = near[0]
        else:
            hint = self._sessions.get(waiting.ticket.ask.session)
            chosen = hint if hint in near else min(near, key=_LOAD)
        if busy and warm and waiting.may_hold(now):
            return self._hold(waiting, chosen, least, busy, ahead, now) or chosen
        return chosen

    def started(self, waiting: Waiting, capacity: Capacity, now: float) -> None:
        """Take note that a replica reads a prompt now, and what it has to do until the answer is over."""
        ask, rates = waiting.ticket.ask, self.rates
        chain = ask.prefix
        expected, length = waiting.warm.get(capacity, 0), chain[-1] & COVERED
        work = self._work.get(capacity) or self._enter(capacity)
        alone = (read := work.reads_until) <= now
        work.reads_until = read = (now if alone else read) + (length - expected) * work.byte_seconds
        tokens = length / rates.bytes_a_token + rates.output_tokens
        continues = self._index.learn(capacity, chain, tokens)
        gives_way = ask.klass == BACKGROUND and not waiting.yielded
        ends = read + work.answer_seconds
        work.runs[waiting.ticket.id] = _Run(now, ends, expected, alone, continues, gives_way)
        work.weigh()
        if ask.session:
            self._sessions.pop(ask.session, None)
            self._sessions[ask.session] = capacity
            if len(self._sessions) > _MOST_SESSIONS:
                del self._sessions[next(iter(self._sessions))]

    def ended(self, waiting: Waiting, capacity: Capacity, exchange: Exchange | None, now: float) -> None:
        """Take note of what it took, and of what the replica did not hold although that was expected."""
        work = self._work.get(capacity)
        run = work.runs.pop(waiting.ticket.id, None) if work else None
        if work is None or run is None:
            return
        if not work.runs:
            work.reads_until = now
        ask, usage = waiting.ticket.ask, exchange.usage if exchange else None
        if usage is None or not usage.prompt_tokens:
            work.weigh()
            return
        if self.rates.learn(ask, capacity, usage, alone=run.reads_alone):
            self._measure(capacity, work)
        else:
            work.weigh()
        is_line = ask.klass == BACKGROUND
        if is_line:
            self._index.spend(capacity, ask.prefix)
        self._index.measure(capacity, ask.prefix, usage.prompt_tokens + usage.completion_tokens)
        if run.continues and run.expected_bytes and not is_line:
            self._judge(capacity, ask.prefix, run.expected_bytes, usage)

    def _judge(self, capacity: Capacity, chain: tuple[int, ...], expected_bytes: int, usage: Usage) -> None:
        """Compare what a replica held of a prompt with what was expected, and learn from the difference.

        Only a prompt that continues one shows what is held. A beginning that others have too is in slots that
        are busy, or a small part of a prompt in host memory: the engine takes it from neither.
        """
        cached, length = usage.cached_tokens, covered(chain)
        expected = expected_bytes / length * usage.prompt_tokens
        missed = cached < expected / 2 and expected - cached > _MISSED_TOKENS
        self._index.judge(capacity, missed=missed and cached < expected * _ALL_MISSED)
        if missed:
            self._index.correct(capacity, chain, round(cached / usage.prompt_tokens * length))

    def is_better(self, waiting: Waiting, hold: Hold, freed: Capacity, now: float) -> bool:
        """Return whether a replica that has got a free slot may suit a held ticket better than its goal.

        Where nothing changed at the goal, this answers for all of `choose`: other replicas cannot have become
        better by what they have started since.
        """
        if freed is hold.goal:
            return True
        chain = waiting.ticket.ask.prefix
        there = self._work.get(hold.goal)
        if there is None:
            return True
        work = self._work.get(freed) or self._enter(freed)
        cost = work.cost((chain[-1] & COVERED) - self._index.depth(freed, chain), now, 0.0)
        wait = there.wait(hold.ahead, now, lines_leave=waiting.ticket.ask.klass != BACKGROUND)
        return there.cost(hold.unread_bytes, now, wait) >= cost * _WORTH_HOLDING

    def warm_seconds(self, capacity: Capacity) -> float:
        """Return how long a replica would take to read again what its slots hold; 0 until rates are known."""
        rate, _ = self.rates.of(capacity)
        return self._index.newest_tokens(capacity) / rate if rate else 0.0

    def keep_prompts(self, capacity: Capacity) -> None:
        """Take note that what is in a replica's slots is on disk."""
        self._index.save(capacity)

    def restore(self, capacity: Capacity) -> None:
        """Take note that a new incarnation has read that back."""
        self._index.restore(capacity)

    def keep(self, capacities: set[Capacity]) -> None:
        """Forget the replicas that are not among these, and what they held."""
        self._index.keep(capacities)
        self.rates.keep(capacities)
        self._work = {one: work for one, work in self._work.items() if one in capacities}
        self._sessions = {name: one for name, one in self._sessions.items() if one in capacities}

    def _works_of(self, capacities: Sequence[Capacity]) -> list[_Work]:
        """Return what each of some replicas has to do."""
        try:
            return [*map(self._work.__getitem__, capacities)]
        except KeyError:
            return [self._work.get(one) or self._enter(one) for one in capacities]

    def _enter(self, capacity: Capacity) -> _Work:
        work = self._work[capacity] = _Work({})
        self._measure(capacity, work)
        return work

    def _measure(self, capacity: Capacity, work: _Work) -> None:
        """Take over what is known of a replica's rates."""
        rates = self.rates
        rate, token_seconds = rates.of(capacity)
        work.byte_seconds = 1 / rates.bytes_a_token / rate if rate else 0.0
        work.answer_seconds = rates.output_tokens * token_seconds
        work.weigh()

    def _hold(
        self,
        waiting: Waiting,
        chosen: Capacity,
        cost: float,
        busy: Sequence[Capacity],
        ahead: Mapping[Capacity, int],
        now: float,
    ) -> Hold | None:
        """Return the busy replica that is worth waiting for; None when the chosen one is better."""
        warm, length = waiting.warm, covered(waiting.ticket.ask.prefix)
        least, goal, wait_seconds = cost * _WORTH_HOLDING, None, 0.0
        lines_leave = waiting.ticket.ask.klass != BACKGROUND
        for one in busy:
            found = warm.get(one, 0)
            if found <= warm.get(chosen, 0):
                continue
            work = self._work.get(one) or self._enter(one)
            wait = work.wait(ahead.get(one, 0), now, lines_leave=lines_leave)
            total = work.cost(length - found, now, wait)
            if total < least:
                least, goal, wait_seconds = total, one, wait
        if goal is None:
            return None
        if waiting.hold_until is None:
            waiting.hold_until = now + self._max_hold_seconds
        look_at = min(waiting.hold_until, now + max(wait_seconds, _LEAST_LOOK))
        return Hold(goal, look_at, length - warm.get(goal, 0), ahead.get(goal, 0), goal.served)


def _of_least_product(free: Sequence[Capacity], warm: Mapping[Capacity, int], length: int) -> Capacity:
    """Return where unread bytes times requests at work are fewest (LMetric); of equal ones the least busy."""
    reads = zip(free, map(warm.get, free, _NO_BYTES), strict=True)
    products = [(length - read) * (len(one.running) + 1) for one, read in reads]
    return min(compress(free, map(min(products).__eq__, products)), key=_LOAD)


def _narrowed(free: Sequence[Capacity], warm: Mapping[Capacity, int]) -> Sequence[Capacity]:
    """Return the warmest of many replicas, and the least busy one."""
    warmest = [one for one in free if one in warm] if warm else []
    if len(warmest) > _MOST_COMPARED:
        warmest = nlargest(_MOST_COMPARED // 2, warmest, key=warm.__getitem__)
    return [*warmest, min(free, key=_LOAD)]
