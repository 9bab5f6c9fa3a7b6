"""Who gets memory now, and who leaves for whom?

Questions are answered in the order in which their models were wanted:

1. The best size that fits into what is free is granted, unless another load uses the same device: then its
   bytes are kept for it, and its turn on the device too.
2. What does not fit waits for what is leaving already. Where that is too little, it may have others leave, if
   requests wait for it: first those that can leave at once, else those that are in use, at the end of their
   turn. Its bytes are kept for it: of what is leaving first, so that younger questions get what is free.
3. Where that would be enough only with what is still being loaded, none leaves yet, and the bytes of all of
   them are kept for it too: else younger questions that need less could go before it without limit.
4. A question that cannot be answered so (it may evict nothing, or everything else is pinned) keeps nothing
   from younger ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from relayd.scheduler.eviction import Eviction, Tenant
from relayd.scheduler.ledger import fits, lanes, missing
from relayd.scheduler.memory import Accounts
from relayd.units import Bytes


class Right(IntEnum):
    """Who may leave for a question."""

    NONE = 0
    """None."""
    SPARE = 1
    """What works on nothing, and no request has wanted for a while: lines of batches ask."""
    IDLE = 2
    """What works on nothing, and is not at home."""
    TURN = 3
    """What works on nothing, else what is in use, at the end of its turn."""


@dataclass(frozen=True, slots=True)
class GrantAsk:
    """A replica that waits for memory.

    Attributes:
        replica: Its name.
        sizes: Bytes of each size that would do, the best first.
        right: Who may leave for it.
        is_urgent: Whether the wait limit of its request is near: the young may leave too.
        left_for: The replica that it left memory for the last time: that one may leave for it only when it is
            not young, so that two models do not swap back and forth.
    """

    replica: str
    sizes: tuple[Accounts, ...]
    right: Right = Right.NONE
    is_urgent: bool = False
    left_for: str = ""

    def waits_for_age_of(self, replica: str) -> bool:
        """Return whether a replica leaves for this one only when it has been in memory for a while."""
        return self.left_for == replica and not self.is_urgent


@dataclass(slots=True)
class Pool:
    """What the answers are taken from; used up while they are given.

    Attributes:
        free: What is free of each account; None when nothing is counted.
        coming: What is going to be free of each account: replicas that leave.
        leaving: Whose bytes these are.
        loading: Device → the replica that is being loaded there.
        candidates: Who may leave, now or once it is loaded.
    """

    free: dict[str, Bytes] | None
    leaving: Mapping[str, Accounts] = field(default_factory=dict)
    loading: dict[str, str] = field(default_factory=dict)
    candidates: Sequence[Tenant] = ()
    coming: dict[str, Bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.coming = {}
        self.add(self.leaving.values())

    def add(self, entries: Iterable[Accounts]) -> None:
        """Expect the bytes of more replicas."""
        for entry in entries:
            for account, count in entry.items():
                self.coming[account] = Bytes(self.coming.get(account, 0) + count)

    def take(self, need: Accounts) -> None:
        """Use up what is free."""
        free = self.free or {}
        for account, count in need.items():
            free[account] = Bytes(free.get(account, 0) - count)

    def keep(self, need: Accounts) -> None:
        """Use up what is going to be free, and of what is free the rest."""
        rest = dict[str, Bytes]()
        for account, count in need.items():
            taken = min(self.coming.get(account, 0), count)
            self.coming[account] = Bytes(self.coming.get(account, 0) - taken)
            rest[account] = Bytes(count - taken)
        self.take(rest)

    def later(self) -> dict[str, Bytes]:
        """Return what is free once everything that leaves is gone."""
        free = self.free or {}
        accounts = free.keys() | self.coming.keys()
        return {one: Bytes(free.get(one, 0) + self.coming.get(one, 0)) for one in accounts}


@dataclass(slots=True)
class Decision:
    """What follows from the questions.

    Attributes:
        grants: Replicas that may start, with the index of their size.
        victims: Replica that is to leave → the replica that waits for its memory, and whether that is urgent.
        waits_for: Replica that waits → the replicas that it waits for.
    """

    grants: list[tuple[str, int]] = field(default_factory=list)
    victims: dict[str, GrantAsk] = field(default_factory=dict)
    waits_for: dict[str, tuple[str, ...]] = field(default_factory=dict)


def decide(questions: Iterable[GrantAsk], pool: Pool, eviction: Eviction, now: float) -> Decision:
    """Answer questions, the oldest first; the pool is used up.

    Args:
        questions: Who waits for memory.
        pool: What there is, and who may leave.
        eviction: Chooses who leaves.
        now: Monotonic seconds.
    """
    decision = Decision()
    for question in questions:
        if not _grant(question, pool, decision):
            _make_room(question, pool, eviction, decision, now)
    return decision


def _grant(question: GrantAsk, pool: Pool, decision: Decision) -> bool:
    """Grant what fits, or keep its bytes for it until its device is free; return whether it fits."""
    for index, need in enumerate(question.sizes):
        if pool.free is not None and not fits(need, pool.free):
            continue
        where = lanes(need) if pool.free is not None else frozenset[str]()
        before = dict.fromkeys(pool.loading[lane] for lane in sorted(where & pool.loading.keys()))
        pool.take(need)
        for lane in where:
            pool.loading.setdefault(lane, question.replica)
        if before:
            decision.waits_for[question.replica] = tuple(before)
        else:
            decision.grants.append((question.replica, index))
        return True
    return False


def _make_room(question: GrantAsk, pool: Pool, eviction: Eviction, decision: Decision, now: float) -> None:
    """Have others leave for the smallest size, where the question may."""
    need = question.sizes[-1]
    if question.right is Right.NONE or pool.free is None:
        return
    short, leaving = missing(need, pool.free), pool.leaving
    before = [one for one, held in leaving.items() if any(held.get(account, 0) for account in short)]
    lacking = missing(need, pool.later())
    chosen = leave = _victims(question, lacking, pool.candidates, eviction, now)
    if chosen is None and question.right is Right.TURN:
        chosen, leave = eviction.victims(lacking, pool.candidates, now), frozenset()
    if chosen is None:
        return
    pool.add(one.held for one in pool.candidates if one.replica in chosen)
    pool.candidates = [one for one in pool.candidates if one.replica not in chosen]
    pool.keep(need)
    decision.victims.update(dict.fromkeys(leave or (), question))
    decision.waits_for[question.replica] = (*before, *sorted(chosen))


def _victims(
    question: GrantAsk,
    short: Accounts,
    candidates: Sequence[Tenant],
    eviction: Eviction,
    now: float,
) -> frozenset[str] | None:
    """Return who leaves so that so much more is free; None when that is not enough now."""
    if not short:
        return frozenset()
    candidates = [one for one in candidates if not one.is_loading]
    at_once = [
        one
        for one in candidates
        if one.is_idle and not (one.is_young and question.waits_for_age_of(one.replica))
    ]
    if question.right is Right.SPARE:
        return eviction.victims(short, [one for one in at_once if one.is_spare], now)
    if question.right is Right.IDLE:
        return eviction.victims(short, [one for one in at_once if not one.is_home], now)
    found = eviction.victims(short, at_once, now)
    return eviction.victims(short, candidates, now) if found is None else found
