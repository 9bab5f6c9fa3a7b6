"""The parts of a daemon, and how they are put together (composition root)."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypedDict

from relayd.api import Door
from relayd.api.sessions import Sessions
from relayd.api.ui import Entrance, Links
from relayd.clock import Clock, SystemClock
from relayd.config import Config
from relayd.daemon.actor import Actor, Executors
from relayd.daemon.batches import DaemonBatches
from relayd.daemon.done import speeds_of_nodes
from relayd.daemon.doors import Doors
from relayd.daemon.events import Bridge
from relayd.daemon.footprint import Footprints
from relayd.daemon.keybook import KeyBook
from relayd.daemon.launch import confirmation, dependencies
from relayd.daemon.membership import Membership
from relayd.daemon.memory import LedgerGrants
from relayd.daemon.modelfacts import KnownFacts
from relayd.daemon.nodeloads import NodeLoads
from relayd.daemon.nodes import Nodes
from relayd.daemon.requestlog import RequestLog
from relayd.daemon.residence import Residents
from relayd.daemon.sight import MemorySight
from relayd.daemon.slots import kept_slots
from relayd.daemon.templates import TemplateBook
from relayd.daemon.totals import Totals
from relayd.daemon.view import FleetView
from relayd.daemon.workers import WorkerHub
from relayd.desired.state import DesiredState
from relayd.endpoint import Endpoint
from relayd.engine import batch_tokens
from relayd.journal import configure_journal
from relayd.planner import Changes, compare
from relayd.remote import Remotes, Upstreams
from relayd.router import ENDING, STOPPED, Dispatcher, Exchanges, Pools, inferred_batch
from relayd.scheduler import LoadElsewhere, MemoryPolicy, Scheduler
from relayd.scheduler.views import TicketProgress
from relayd.service import Notifier, counts
from relayd.store import Pins
from relayd.store.database import FILE as DATABASE
from relayd.supervisor import Fleet, Settings, State
from relayd.units import mib


@dataclass(slots=True)
class DaemonParts:
    """Everything that a daemon consists of while it serves.

    Attributes:
        desired: What the parts follow; a reload replaces it.
        started: Wall-clock seconds.
        changing: Held while a reload or an upgrade is under way: one of them at a time.
        upgrading: A new daemon is about to take over, and has made its plan already.
    """

    desired: DesiredState
    clock: Clock
    started: float
    scheduler: Scheduler
    actor: Actor
    dispatcher: Dispatcher
    bridge: Bridge
    fleet: Fleet
    grants: LedgerGrants
    residence: Residents
    footprints: Footprints
    templates: TemplateBook
    view: FleetView
    doors: Doors
    notifier: Notifier
    requests: RequestLog
    totals: Totals
    keys: KeyBook
    batches: DaemonBatches
    remotes: Remotes
    upstreams: Upstreams
    nodes: Nodes
    node_loads: NodeLoads
    membership: Membership
    workers: WorkerHub
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    upgrading: bool = False

    def follow(self, desired: DesiredState, door: Door) -> None:
        """Take from another desired state what needs no restart of a replica."""
        config = desired.config
        self.desired = desired
        self.keys.configure(config.server)
        self.doors.follow(door)
        self.workers.configure(config)
        self.scheduler.configure(**_limits(config))
        self.dispatcher.configure(
            max_wait_seconds=_longest_wait(config),
            suspect_seconds=config.server.first_byte_suspect_seconds,
            head_hold_seconds=config.server.head_hold_seconds,
        )
        self.fleet.configure(_settings(config))
        self.grants.configure(desired.budget)
        self.residence.enter(desired.plan)
        self.batches.configure(config)
        self.view.configure(config, desired.files)
        self.nodes.follow(config, self.doors.url)
        self.node_loads.configure(config.power)
        _configure(self.requests, config)
        configure_journal(config.logs.level, config.logs.format)

    def changes_to(self, desired: DesiredState) -> Changes:
        """Return what another desired state would add, remove and restart."""
        return compare(self.fleet.plan, desired.plan)

    @property
    def open_requests(self) -> int:
        """How many requests run, wait for a slot, or still arrive."""
        return self.dispatcher.open_count + self.doors.arriving

    def interrupt(self) -> None:
        """Answer every request that is open, and each that comes from now on, that this daemon ends."""
        self.dispatcher.close(ENDING)
        self.doors.interrupt(ENDING)
        self.keys.interrupt(ENDING)

    def stop_unused(self) -> None:
        """End the replicas of models that no request runs on or waits for."""
        for replica in self.fleet.select(None):
            load = self.scheduler.load(replica.spec.model)
            if not load.running and not load.waiting:
                replica.stop(0)

    def counts(self) -> str:
        """Return how many replicas are ready and how many requests there are, for the service manager."""
        states = [status.state for status in self.fleet.statuses()]
        loads = [self.scheduler.load(model.name) for model in self.desired.config.model]
        return counts(
            states.count(State.READY),
            len(states),
            running=sum(load.running for load in loads),
            waiting=sum(load.waiting for load in loads),
        )


_STARVED = "an allocation of it failed"


def assemble(desired: DesiredState) -> DaemonParts:
    """Put a daemon's parts together; nothing is opened or started yet."""
    config, clock = desired.config, SystemClock()
    scheduler = Scheduler(depth=1)
    pools = Pools(
        on_owed=lambda replica: fleet.suspect(replica),  # noqa: PLW0108 - the fleet comes later
        infer_batch=lambda endpoint: _infer_batch(endpoint, fleet, doors.exchanges),
    )
    scheduler.configure(**_limits(config))
    actor = Actor(scheduler, clock)
    remotes = Remotes(actor.post, pools.retire, scheduler.spread)
    dispatcher = _dispatcher(config, actor, clock, lambda name: fleet.renew(name, _STARVED))
    bridge = _bridge(actor, pools, dispatcher, scheduler, config, facts := _facts(desired))
    sight, confirm = MemorySight(), confirmation(desired)
    grants = LedgerGrants(actor.post, clock, lambda replica: fleet.pid(replica), sight, confirm)  # noqa: PLW0108 - later
    touched = dependencies(
        desired,
        bridge,
        clock,
        pools.get,
        slots=kept_slots(desired, pools, clock, lambda: keys.retains_all(), actor.post),  # noqa: PLW0108 - the keys come later
        busy=lambda replica: scheduler.running_on(replica) > 0 and not pools.owes(replica),
        suspects=dispatcher.suspects,
        grants=grants,
    )
    fleet = Fleet(desired.plan, touched, _settings(config))
    residence = Residents(actor.post, fleet, Pins(desired.paths.state))
    keys = KeyBook(desired.paths.state / DATABASE, clock)
    requests = _request_log(desired, clock, keys)
    templates = _templates(desired, pools, fleet, scheduler, lambda: view.changed())  # noqa: PLW0108 - the view comes later
    view = _view(desired, started := clock.wall(), fleet, facts, templates, remotes)
    bridge.on_change(view.changed)
    remotes.on_change(view.changed)
    bridge.on_ready(grants.measure, templates.look)
    actor.start(_executors(dispatcher, fleet, grants, residence, lambda wanted: loads.bring(wanted)))  # noqa: PLW0108 - later
    doors = Doors(
        view,
        dispatcher,
        pools,
        clock,
        keys.keyring,
        scheduler.serving,
        partial(_progress, scheduler, clock),
        residence.release,
    )
    nodes, totals = Nodes(remotes, keys, scheduler, clock, is_enabled=config.hub.enabled), Totals()
    loads = _node_loads(config, remotes, nodes, clock, doors)
    doors.remotes, doors.entrance, doors.node_door = remotes, _entrance(keys, clock), nodes.door
    doors.serve_batches(batches := DaemonBatches(desired, keys, view, scheduler, clock))
    doors.further = (workers := WorkerHub(config, remotes, keys.keyring, clock)).routes
    doors.exchanges.listen(requests.note, keys.usage.note, totals.note)
    return DaemonParts(
        desired, clock, started, scheduler, actor, dispatcher, bridge, fleet, grants, residence,
        footprints=Footprints(clock), templates=templates, view=view, doors=doors, requests=requests,
        notifier=Notifier(desired.environ, clock), totals=totals, keys=keys, batches=batches, remotes=remotes,
        nodes=nodes, node_loads=loads, workers=workers,
        membership=Membership(desired.paths.state, pools, clock),
        upstreams=Upstreams(remotes, pools.fetch, scheduler.running_on),
    )  # fmt: skip


def _node_loads(config: Config, remotes: Remotes, nodes: Nodes, clock: Clock, doors: Doors) -> NodeLoads:
    """Return what brings models on nodes, the fastest first by the requests that have ended."""
    speeds = lambda: speeds_of_nodes(doors.exchanges.recent())  # noqa: E731 - read anew each time
    return NodeLoads(remotes, nodes.hub, config.power, clock, speeds)


def _entrance(keys: KeyBook, clock: Clock) -> Entrance:
    """Return the dashboard's way in, which opens no session before it has what signs them."""
    return Entrance(keys.keyring, Sessions(keys.holder, clock), Links(clock), keys.lend_to_page)


def _dispatcher(config: Config, actor: Actor, clock: Clock, on_starved: Callable[[str], None]) -> Dispatcher:
    return Dispatcher(
        actor.post,
        clock,
        max_wait_seconds=_longest_wait(config),
        suspect_seconds=config.server.first_byte_suspect_seconds,
        head_hold_seconds=config.server.head_hold_seconds,
        on_starved=on_starved,
        schedule=actor,
    )


def _infer_batch(endpoint: Endpoint, fleet: Fleet, exchanges: Exchanges) -> float:
    """Return how many seconds a replica takes for a batch of a prompt, by its last answers; 0 if unknown."""
    specs = {planned.name: planned.spec for planned in fleet.plan}
    spec = specs.get(endpoint.replica)
    return inferred_batch(exchanges.newest(), endpoint, batch_tokens(spec)) if spec else 0.0


def _request_log(desired: DesiredState, clock: Clock, keys: KeyBook) -> RequestLog:
    requests = RequestLog(desired.paths.state / "logs" / "requests.jsonl", clock, keys.retains)
    _configure(requests, desired.config)
    return requests


def _facts(desired: DesiredState) -> KnownFacts:
    facts = KnownFacts(desired.site.cache / "facts.json")
    facts.learn(desired.files)
    return facts


def _templates(
    desired: DesiredState, pools: Pools, fleet: Fleet, scheduler: Scheduler, on_known: Callable[[], None]
) -> TemplateBook:
    return TemplateBook(desired.paths.state, pools, partial(_served, fleet, scheduler), on_known)


def _served(fleet: Fleet, scheduler: Scheduler, replica: str) -> tuple[str, Endpoint] | None:
    """Return the model of a replica, and where it is served; None where it is not."""
    model = next((planned.model for planned in fleet.plan if planned.name == replica), "")
    found = (endpoint for endpoint in scheduler.serving(model) if endpoint.replica == replica)
    return next(((model, endpoint) for endpoint in found), None)


def _view(
    desired: DesiredState,
    started: float,
    fleet: Fleet,
    facts: KnownFacts,
    templates: TemplateBook,
    remotes: Remotes,
) -> FleetView:
    view = FleetView(desired.config, started, fleet.statuses, facts, templates.of, remotes.models)
    facts.on_known(view.changed)
    return view


def _bridge(
    actor: Actor,
    pools: Pools,
    dispatcher: Dispatcher,
    scheduler: Scheduler,
    config: Config,
    facts: KnownFacts,
) -> Bridge:
    """Return what takes the reports on replicas, and moves requests on account of them."""

    def stalled(replica: str) -> None:
        seconds = config.probe.timeout_seconds
        dispatcher.leave_silent(replica, seconds, lambda model: bool(scheduler.serving(model)))

    interrupt = partial(dispatcher.interrupt_on, error=STOPPED)
    return Bridge(actor.post, pools.retire, interrupt, stalled, facts.token_bytes)


def _executors(
    dispatcher: Dispatcher,
    fleet: Fleet,
    grants: LedgerGrants,
    residence: Residents,
    load_elsewhere: Callable[[LoadElsewhere], None],
) -> Executors:
    """Return who carries out what the scheduler decides."""
    return Executors(
        dispatch=dispatcher.on_answer,
        refuse=dispatcher.on_answer,
        idle=lambda idle: fleet.idle(idle.replica),
        move=dispatcher.on_move,
        preempt=dispatcher.on_preempt,
        grant=grants.grant,
        load=residence.load,
        evict=residence.evict,
        load_elsewhere=load_elsewhere,
    )


def _progress(scheduler: Scheduler, clock: Clock, ticket_id: int, model: str) -> TicketProgress | None:
    return scheduler.memory.progress(ticket_id, model, clock.monotonic())


def _longest_wait(config: Config) -> float | None:
    """Return how many seconds a request may wait for a slot; None is without limit."""
    seconds = config.queue.max_wait_seconds
    return None if seconds == "unlimited" else seconds


class _Limits(TypedDict):
    depth: int
    attempts: int
    avoid_seconds: float
    memory: MemoryPolicy
    flow_depth: int | None
    strategies: Mapping[str, str]
    max_hold_seconds: float


def _limits(config: Config) -> _Limits:
    queue, memory = config.queue, config.memory
    policy = MemoryPolicy(
        min_resident_seconds=memory.min_resident_seconds,
        swap_batch_requests=memory.swap_batch_requests,
        swap_turn_seconds=memory.swap_turn_seconds,
    )
    return _Limits(
        depth=sys.maxsize if queue.depth == "unlimited" else queue.depth,
        attempts=queue.attempts,
        avoid_seconds=queue.avoid_seconds,
        memory=policy,
        flow_depth=None if queue.key_depth == "unlimited" else queue.key_depth,
        strategies={model.name: model.strategy for model in config.model},
        max_hold_seconds=queue.max_hold_seconds,
    )


def _configure(requests: RequestLog, config: Config) -> None:
    logs = config.logs
    requests.configure(
        logs.requests,
        max_bytes=mib(logs.max_mib),
        backups=logs.backups,
        journaled=logs.level == "debug",
    )


def _settings(config: Config) -> Settings:
    return Settings(config.replicas, config.restart, config.probe)
