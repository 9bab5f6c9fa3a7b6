"""The last hour and the last 24 hours, as the daemon keeps them itself (history of figures)."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from relayd.daemon.adminreport import EndedRequests
from relayd.daemon.livereport import HistoryReport, MarkReport, SampleReport
from relayd.daemon.totals import spread
from relayd.errors import StateError
from relayd.scheduler import Exchange
from relayd.store.kept import SCHEMA, KeptFile

FILE = "history.json"

FINE_SECONDS = 10.0
"""Length of a sample of the last hour."""

_TOGETHER = 30
"""Samples of the last hour that make one of the last day."""

_FINE, _COARSE, _MARKS = 360, 288, 200


class HistoryFile(msgspec.Struct, frozen=True, kw_only=True):
    """What outlives the daemon."""

    day: tuple[SampleReport, ...] = ()
    marks: tuple[MarkReport, ...] = ()
    schema: int = SCHEMA


class Moment(NamedTuple):
    """What is to be sampled.

    Attributes:
        at: Seconds since 1970.
        rows: How every request so far has ended, and what they came to.
        recent: The last exchanges.
        now: Monotonic seconds.
        running: Requests that run.
        waiting: Those that wait.
        held: Account → bytes held.
    """

    at: float
    rows: Sequence[tuple[str, EndedRequests]]
    recent: Sequence[Exchange]
    now: float
    running: int
    waiting: int
    held: dict[str, int]


class _Sums(NamedTuple):
    """What every request so far came to."""

    requests: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def minus(self, other: "_Sums") -> "_Sums":
        return _Sums(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))


class FigureHistory:
    """Samples the daemon, and keeps what plots need.

    Args:
        look: Returns what is to be sampled.
        state: The state folder; what is kept there outlives the daemon.
    """

    def __init__(self, look: Callable[[], Moment], state: Path) -> None:
        self._look = look
        self._file = KeptFile(state / FILE, HistoryFile)
        self._fine: deque[SampleReport] = deque(maxlen=_FINE)
        self._coarse: deque[SampleReport] = deque(maxlen=_COARSE)
        self._open: list[SampleReport] = []
        self._marks: deque[MarkReport] = deque(maxlen=_MARKS)
        self._before = _Sums()

    def __repr__(self) -> str:
        return f"<FigureHistory fine={len(self._fine)} coarse={len(self._coarse)} marks={len(self._marks)}>"

    def report(self) -> HistoryReport:
        """Return what is kept."""
        ahead = (_together(self._open),) if self._open else ()
        return HistoryReport(
            tuple(self._fine),
            (*self._coarse, *ahead)[-_COARSE:],
            tuple(self._marks),
            FINE_SECONDS,
            FINE_SECONDS * _TOGETHER,
        )

    def mark(self, at: float, event: str, subject: str, text: str = "") -> None:
        """Keep something that plots mark."""
        self._marks.append(MarkReport(round(at, 3), event, subject, text))

    async def recall(self) -> None:
        """Take up what the daemon before this one has kept."""
        kept = await asyncio.to_thread(self._file.read)
        if kept is not None:
            self._coarse.extend(kept.day)
            self._marks.extend(kept.marks)

    async def run(self) -> None:
        """Sample until this is cancelled."""
        await self.recall()
        while True:
            await asyncio.sleep(FINE_SECONDS)
            if self.sample(self._look()):
                await self.write()

    def sample(self, moment: Moment) -> bool:
        """Take a sample; return whether one of the last day is complete with it."""
        sums = _sums(moment.rows)
        new, self._before = sums.minus(self._before), sums
        firsts = spread(
            one.first_byte_at - one.arrived_at
            for one in moment.recent
            if one.first_byte_at is not None and one.ended_at > moment.now - FINE_SECONDS
        )
        self._fine.append(
            sample := SampleReport(
                round(moment.at, 1), new.requests, new.failed, moment.running, moment.waiting,
                new.prompt_tokens, new.cached_tokens, new.completion_tokens,
                round(new.completion_tokens / FINE_SECONDS, 2), firsts.p50, firsts.p95, moment.held,
            )
        )  # fmt: skip
        self._open.append(sample)
        if len(self._open) < _TOGETHER:
            return False
        self._coarse.append(_together(self._open))
        self._open = []
        return True

    async def write(self) -> None:
        """Write what outlives the daemon; a disk that is full costs the figures, and nothing else."""
        document = HistoryFile(day=self.report().day, marks=tuple(self._marks))
        try:
            await asyncio.to_thread(self._file.write, document)
        except StateError:
            return


def _sums(rows: Iterable[tuple[str, EndedRequests]]) -> _Sums:
    """Return what all rows came to; those that were cut or failed here count as failed."""
    total = _Sums()
    for ended, row in rows:
        failed = row.requests if ended in ("cut", "failed") else 0
        total = _Sums(
            total.requests + row.requests,
            total.failed + failed,
            total.prompt_tokens + row.prompt_tokens,
            total.cached_tokens + row.cached_tokens,
            total.completion_tokens + row.completion_tokens,
        )
    return total


def _together(samples: Sequence[SampleReport]) -> SampleReport:
    """Return several samples as one; the slow end is that of the worst of them."""
    last = samples[-1]
    tokens = sum(one.completion_tokens for one in samples)
    return SampleReport(
        last.at,
        sum(one.requests for one in samples),
        sum(one.failed for one in samples),
        max(one.running for one in samples),
        max(one.waiting for one in samples),
        sum(one.prompt_tokens for one in samples),
        sum(one.cached_tokens for one in samples),
        tokens,
        round(tokens / (FINE_SECONDS * len(samples)), 2),
        max(one.first_byte_p50 for one in samples),
        max(one.first_byte_p95 for one in samples),
        last.held,
    )
