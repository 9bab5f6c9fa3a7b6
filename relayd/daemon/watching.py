"""What the dashboard and `relayd top` ask besides the administrators' verbs: all at once, followed; links."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from urllib.parse import urlsplit

from relayd.api.control import Feed, Verb
from relayd.api.figures import OwnFigures
from relayd.api.ui.links import LINK_SECONDS
from relayd.daemon.administration import Administration
from relayd.daemon.arguments import (
    CancelArguments,
    CollectArguments,
    ModelArguments,
    NoArguments,
    RecommendArguments,
)
from relayd.daemon.commandruns import CommandRuns
from relayd.daemon.eventcounts import EventCounts
from relayd.daemon.history import FigureHistory, Moment
from relayd.daemon.live import LiveFeed
from relayd.daemon.livelook import LiveLook
from relayd.daemon.livereport import HistoryReport, LinkReport, LiveEvent, LiveReport, PullsReport
from relayd.daemon.metrics import as_json, collect, exposition
from relayd.daemon.parts import DaemonParts
from relayd.daemon.shutdown import Shutdown
from relayd.daemon.whyreport import WhyReport
from relayd.errors import StateError
from relayd.handover import Predecessor
from relayd.hardware.loads import device_loads

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, never bound


class Watching:
    """Verbs for people who look on.

    Args:
        parts: Of the daemon.
        predecessor: The daemon that it took over from.
        shutdown: Whether it is about to end.

    Attributes:
        history: The last 24 hours.
        runs: Commands that the dashboard has run.
        events: What the journal was given.
    """

    def __init__(self, parts: DaemonParts, predecessor: Predecessor | None, shutdown: Shutdown) -> None:
        self._parts = parts
        self._look = LiveLook(parts, predecessor, shutdown)
        self._feed = LiveFeed(self._look.report)
        self.history = FigureHistory(self._moment, parts.desired.paths.state)
        self.runs = CommandRuns(parts.desired, parts.clock)
        self.events = EventCounts(self.history.mark)

    def __repr__(self) -> str:
        return f"<Watching {self._feed!r}>"

    async def now(self, _arguments: NoArguments) -> LiveReport:
        """Return everything that the dashboard shows of this moment."""
        return await self._look.report()

    async def live(self, _arguments: NoArguments) -> AsyncGenerator[LiveEvent]:
        """Return what yields the state, and what changes in it."""
        return self._feed.follow()

    async def why(self, arguments: CancelArguments) -> WhyReport:
        """Return why the engine read what it read of a request's prompt.

        Raises:
            NotFoundError: Nothing is kept of it.
        """
        return await self._parts.doors.prompts.why(arguments.request)

    async def past(self, _arguments: NoArguments) -> HistoryReport:
        """Return the last hour and the last 24 hours."""
        return self.history.report()

    async def hardware(self, _arguments: NoArguments) -> object:
        """Return what `relayd hardware --json` prints."""
        return await self.runs.hardware()

    async def catalog(self, _arguments: NoArguments) -> object:
        """Return the models on this disk, and those of the catalogue."""
        return await self.runs.catalog()

    async def pulls(self, _arguments: NoArguments) -> PullsReport:
        """Return the pulls that run, and the last ones that have ended."""
        return self.runs.pulls()

    async def end_pull(self, arguments: ModelArguments) -> PullsReport:
        """Interrupt a pull.

        Raises:
            NotFoundError: None of that model runs.
        """
        return self.runs.end_pull(arguments.model)

    def figures(self) -> OwnFigures:
        """Return where the figures of `/metrics` come from."""

        async def text() -> bytes:
            devices = await asyncio.to_thread(device_loads)
            values = collect(self._parts, self.events, devices)
            return await asyncio.to_thread(exposition, values)

        async def document() -> object:
            devices = await asyncio.to_thread(device_loads)
            return as_json(collect(self._parts, self.events, devices), self._parts)

        return OwnFigures(text, document)

    def _moment(self) -> Moment:
        parts = self._parts
        loads = [parts.scheduler.load(model.name) for model in parts.desired.config.model]
        rows = [(how, row) for by_end in parts.totals.by_model().values() for how, row in by_end.items()]
        return Moment(
            parts.clock.wall(),
            rows,
            parts.doors.exchanges.recent(),
            parts.clock.monotonic(),
            sum(load.running for load in loads),
            sum(load.waiting for load in loads),
            {row.account: int(row.held) for row in parts.scheduler.memory.ledger()},
        )

    async def link(self, _arguments: NoArguments) -> LinkReport:
        """Return a link that opens the dashboard once; for the owner's socket only.

        Raises:
            StateError: There is no dashboard.
        """
        return dashboard_link(self._parts)


def dashboard_link(parts: DaemonParts) -> LinkReport:
    """Return a link that opens the dashboard once.

    Raises:
        StateError: There is no dashboard.
    """
    entrance = parts.doors.entrance
    if entrance is None or not parts.doors.url:
        raise StateError("the dashboard is not open yet", remedy="Try again in a moment.")
    token = entrance.links.make()
    return LinkReport(f"{local_url(parts.doors.url)}/ui/#link={token}", LINK_SECONDS)


def local_url(url: str) -> str:
    """Return where this machine reaches what listens on an address, which may stand for every one."""
    parts = urlsplit(url)
    if parts.hostname not in _WILDCARDS:
        return url
    return f"{parts.scheme}://{'127.0.0.1' if parts.hostname == _WILDCARDS[0] else '[::1]'}:{parts.port}"


def followed(watching: Watching) -> Mapping[str, Verb | Feed]:
    """Return what administrators may ask over TCP."""
    return {
        "now": Verb(NoArguments, watching.now),
        "live": Feed(NoArguments, watching.live),
        "history": Verb(NoArguments, watching.past),
        "why": Verb(CancelArguments, watching.why),
        "hardware": Verb(NoArguments, watching.hardware),
        "catalog": Verb(NoArguments, watching.catalog),
        "recommend": Verb(RecommendArguments, watching.runs.recommend),
        "pull": Verb(ModelArguments, watching.runs.pull),
        "pulls": Verb(NoArguments, watching.pulls),
        "end_pull": Verb(ModelArguments, watching.end_pull),
    }


def owners(watching: Watching, administration: Administration) -> Mapping[tuple[str, str], Verb]:
    """Return what the owner may ask over the control socket."""
    return {
        ("GET", "now"): Verb(NoArguments, watching.now),
        ("GET", "history"): Verb(NoArguments, watching.past),
        ("GET", "why"): Verb(CancelArguments, watching.why),
        ("POST", "link"): Verb(NoArguments, watching.link),
        ("GET", "requests"): Verb(NoArguments, administration.requests),
        ("POST", "cancel"): Verb(CancelArguments, administration.cancel),
        ("POST", "collect_batches"): Verb(CollectArguments, administration.collect_batches),
    }
