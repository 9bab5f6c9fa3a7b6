"""How do batches reach the doors, the scheduler and the database of this daemon (wiring)?"""

import asyncio
from collections import Counter
from collections.abc import Callable

from aiohttp import web

from relayd.api import ModelDirectory, ModelView, Route
from relayd.api.batches import BatchDoor
from relayd.api.files import FileDoor
from relayd.api.fleet import find_model
from relayd.api.grants import KeyGrant
from relayd.api.inside import InsideDoor
from relayd.api.messagebatches import MessageBatchDoor
from relayd.batch.book import DAY_SECONDS, BatchBook, BatchLimits
from relayd.batch.place import BatchFolder
from relayd.batch.results import LineAnswer
from relayd.batch.runner import BatchRunner, LineRoom
from relayd.batch.running import BatchRate
from relayd.batch.validation import BatchValidation
from relayd.clock import Clock
from relayd.config import Config
from relayd.daemon.batchreport import BatchesReport
from relayd.daemon.keybook import KeyBook
from relayd.desired.state import DesiredState
from relayd.errors import ModelNotFoundError, StateError, UnauthorizedError
from relayd.journal import Journal
from relayd.scheduler import Scheduler
from relayd.store.batches import StoredBatch
from relayd.units import KIB, mib

_COLLECT_SECONDS = 3600.0
"""How often batches and files are removed whose time is over."""

_GONE = UnauthorizedError("The key of this batch is not valid any more.")


class DaemonBatches:
    """Batches of a daemon.

    Args:
        desired: What it is given.
        keys: Every key.
        view: The models.
        scheduler: Knows how many slots each has.
        clock: Time.

    Attributes:
        book: Every file and batch.
        runner: Runs them.
        inside: The doors that lines are sent to; set before the first of them runs.
    """

    inside: InsideDoor

    def __init__(
        self, desired: DesiredState, keys: KeyBook, view: ModelDirectory, scheduler: Scheduler, clock: Clock
    ) -> None:
        settings = desired.config.batches
        folder = BatchFolder(desired.paths.state / "batches", mib(settings.free_mib))
        self.book = BatchBook(folder, keys.database, clock, _limits(desired.config))
        self.runner = BatchRunner(self.book, self._ask, self._room_of, BatchValidation(self.book, self._find))
        self._keys, self._view, self._scheduler = keys, view, scheduler

    def __repr__(self) -> str:
        return f"<DaemonBatches {self.runner!r} {self.book!r}>"

    def configure(self, config: Config) -> None:
        """Follow other settings."""
        self.book.limits = _limits(config)
        self.book.folder.free_bytes = mib(config.batches.free_mib)

    def routes(self, config: Config, base_of: Callable[[web.BaseRequest], str]) -> tuple[Route, ...]:
        """Return the routes of files and batches.

        Args:
            config: The settings.
            base_of: Returns the address under which a request has reached relayd.
        """
        seconds, runner = config.server.body_seconds, self.runner

        def why_paused() -> str:
            return runner.why_paused

        return (
            *FileDoor(self.book, seconds).routes(),
            *BatchDoor(self.book, self.look, why_paused).routes(),
            *MessageBatchDoor(self.book, self.look, why_paused, base_of, seconds).routes(),
        )

    def look(self, row: StoredBatch) -> tuple[StoredBatch, BatchRate]:
        """Return a batch as it is now, and how fast it is."""
        return self.runner.live(row), self.runner.rate(row)

    def summary(self) -> BatchesReport:
        """Return how all batches do."""
        running, rates = self.runner.running.values(), [one.rate() for one in self.runner.running.values()]
        left = sum(len(one.index) - one.journal.counts(0).done for one in running)
        speed = sum(rate.lines for rate in rates)
        return BatchesReport(
            states=Counter(row.state.value for row in self.book.batches.values()),
            lines_left=left,
            lines_running=sum(len(one.open) for one in running),
            lines_per_second=round(speed, 3),
            seconds_left=round(left / speed, 1) if speed else None,
            paused=self.runner.why_paused,
        )

    async def collect(self) -> None:
        """Remove what is too old now and then, without end."""
        while True:
            try:
                await self.book.collect_garbage()
            except StateError as error:
                Journal("batch").warning("batch.not_collected", message=error.message)
            await asyncio.sleep(_COLLECT_SECONDS)

    async def _ask(self, path: str, body: bytes, request_id: str, key: str) -> LineAnswer:
        grant = self._keys.grant_of(key)
        if grant is None:
            return self.inside.refuse(path, request_id, _GONE)
        return await self.inside.ask(path, body, request_id, grant)

    def _find(self, key: str, name: str) -> ModelView:
        """Return the model that a key means.

        Raises:
            ModelNotFoundError: There is none.
        """
        grant = self._keys.grant_of(key) or KeyGrant()
        models = self._view.models()
        return grant.models.named(name, models) or find_model(name, grant.models.among(models))

    def _room_of(self, key: str, name: str) -> LineRoom:
        try:
            model = self._find(key, name).replicas_of
        except ModelNotFoundError:
            return LineRoom()
        serving = self._scheduler.serving(model)
        return LineRoom(self._scheduler.load(model).slots if serving else 0, len(serving))


def _limits(config: Config) -> BatchLimits:
    settings = config.batches
    return BatchLimits(
        file_bytes=mib(settings.max_file_mib),
        key_bytes=mib(settings.key_files_mib),
        lines=settings.max_lines,
        line_bytes=mib(config.server.max_body_mib) + KIB,
        keep_seconds=settings.keep_days * DAY_SECONDS,
    )
