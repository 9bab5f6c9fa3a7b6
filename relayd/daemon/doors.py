"""The HTTP side of a daemon: its listener, and the routes and rules behind it (doors)."""

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from relayd import __version__
from relayd.api import (
    OPENAI,
    Bodies,
    Certificate,
    ConnectionLimits,
    Door,
    Inference,
    KeptResponses,
    Keyring,
    Listener,
    ModelDirectory,
    Offered,
    OllamaChanges,
    Route,
    Vitals,
    admin_routes,
    anthropic_routes,
    behind,
    description_routes,
    health_routes,
    listen,
    lm_studio_routes,
    make_policy,
    native_routes,
    ollama_routes,
    openai_routes,
    peer_of,
    rerank_routes,
    responses_routes,
    transcription_routes,
)
from relayd.api.astext import AnswerAsText
from relayd.api.figures import NO_FIGURES
from relayd.api.fitting import Fitting
from relayd.api.guard import Policy
from relayd.api.inside import InsideDoor
from relayd.api.nodes import NodeDoor, node_routes
from relayd.api.ui import Entrance, ui_routes
from relayd.clock import Clock
from relayd.config import Config, ListenAddress, parse_addresses, show_addresses
from relayd.config.schema import Compat
from relayd.daemon.batches import DaemonBatches
from relayd.daemon.prompts import RecentPrompts
from relayd.daemon.responses import KeptOnDisk
from relayd.daemon.virtual import check_virtual
from relayd.dialects.hygiene import NAMES, TOOL_ORDER, rules_but
from relayd.dialects.toolorder import ToolOrder
from relayd.endpoint import Endpoint
from relayd.errors import RequestError
from relayd.journal import Journal
from relayd.remote import Remotes  # noqa: TC001 - the type of an attribute
from relayd.router import NO_TEXT, Beside, Dispatcher, Exchanges, Pools, ProgressComments, Proxy, Unlisted
from relayd.router.progress import Look
from relayd.store.signing import signing_key
from relayd.units import Bytes, mib

FurtherRoutes = Callable[[Callable[[web.BaseRequest], str]], tuple[Route, ...]]
"""Returns the routes of another room, given what returns the address of a request's sender."""


class Doors:
    """The HTTP side of a daemon.

    Args:
        view: What clients may see of the models.
        dispatcher: Finds requests their replica.
        pools: Connections to replicas.
        clock: Time.
        keyring: The keys that open them.
        serving: Returns where a model is served now.
        look: Shows how far a ticket that waits has come.
        release: Has a model leave memory, and returns whether it does.

    Attributes:
        exchanges: The record of every request.
        prompts: Of which parts the last prompts were.
        bodies: What the bodies of all requests take.
        responses: Has kept responses outlive the daemon, where that is asked for.
        vitals: Returns how the daemon does, for `/health`.
        figures: Returns the figures of the daemon, for `/metrics` and `/metrics.json`.
        entrance: Of the dashboard; doors that are made before it is set have none.
        batches: What serves files and batches; doors that are made before it is set have none.
        further: Returns routes that other rooms have.
        remotes: Learn of requests that failed elsewhere; None where nothing is.
        node_door: Who answers other machines that join; doors that are made before it is set let none in.
    """

    listener: Listener
    certificate: Certificate | None = None
    """What clients are shown, where connections are encrypted; set by `open`."""
    listen: str
    """What is open, and where, as configured; set by `open`."""
    _addresses: tuple[ListenAddress, ...]

    def __init__(
        self,
        view: ModelDirectory,
        dispatcher: Dispatcher,
        pools: Pools,
        clock: Clock,
        keyring: Keyring,
        serving: Callable[[str], Sequence[Endpoint]] = lambda _: (),
        look: Look = lambda _id, _model: None,
        release: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.exchanges = Exchanges(clock)
        self.prompts = RecentPrompts(self.exchanges.recent)
        self.bodies = Bodies(Bytes(0))
        self._view, self._release = view, release
        self._dispatcher = dispatcher
        self._pools = pools
        self._beside = Beside(pools, serving)
        self._kept, self._clock = KeptResponses(clock), clock
        self.responses = KeptOnDisk(self._kept, clock)
        self._look = look
        self._keyring = keyring
        self._journal = Journal("daemon")
        self._tool_order = ToolOrder()
        self._offered: Offered = {}
        self.url = ""
        self.vitals: Callable[[], Vitals] = Vitals
        self.entrance: Entrance | None = None
        self.batches: DaemonBatches | None = None
        self.figures = NO_FIGURES
        self.remotes: Remotes | None = None
        self.node_door: NodeDoor | None = None
        self.further: FurtherRoutes = lambda _: ()

    def __repr__(self) -> str:
        return f"<Doors at {self.url or 'no address'}>"

    def offer(self, offered: Offered) -> None:
        """Let administrators have verbs, on doors that are made from now on."""
        self._offered = offered

    async def open(self, config: Config, inherited: Sequence[socket.socket] = ()) -> str:
        """Let clients in, and return the base URL.

        Args:
            config: Where, and whom.
            inherited: Sockets that listen there already.

        Raises:
            ListenError: The address cannot be listened on.
        """
        server = config.server
        self._addresses = address, *further = parse_addresses(server.listen)
        self.listen = show_addresses(server.listen)
        served, door = behind(self._current), self._current
        self._door = self.make(config)
        tls = await asyncio.to_thread(self._tls, config)
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limits = ConnectionLimits.within(
            descriptors, header_seconds=server.header_seconds, idle_seconds=server.keep_alive_seconds
        )
        self.listener = await listen(
            served,
            address.host,
            address.port,
            limits,
            dialect=OPENAI,
            socks=inherited,
            door=door,
            further=[(one.host, one.port) for one in further],
            tls=tls,
        )
        host, port = self.listener.addresses[0]
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.url = f"{'https' if tls else 'http'}://{shown}"
        self._journal.info("daemon.listening", url=self.url, version=__version__, pid=os.getpid())
        return self.url

    def make(self, config: Config) -> Door:
        """Return a door by other rules; `follow` lets clients through it.

        Raises:
            ConfigError: A virtual model sets what no client could send.
        """
        check_virtual(config)
        server = config.server
        self.bodies.configure(mib(max(server.body_budget_mib, server.max_body_mib)))
        first, *further = self._addresses  # a reload keeps them; the next start may change them
        policy = make_policy(
            first.host,
            allowed_hosts=(*server.allowed_hosts, *(one.host for one in further), *_invited(config.hub.url)),
            cors_origins=server.cors_origins,
            trusted_proxies=server.trusted_proxies,
            keyed=bool(server.api_key) or server.require_key == "always",
        )
        compat = config.compat
        fitting = _fitting_of(compat, self._tool_order)
        proxy = Proxy(
            self._pools,
            write_stall_seconds=server.write_stall_seconds,
            on_fault=self._note_fault,
            again=fitting.again,
            text=AnswerAsText(self._clock) if compat.salvage_answers else NO_TEXT,
            on_busy=self._note_busy,
        )
        inference = Inference(
            self._view,
            self._dispatcher,
            proxy,
            self.exchanges,
            max_body=mib(server.max_body_mib),
            body_seconds=server.body_seconds,
            unlisted=Unlisted(server.unknown_members, frozenset(server.extra_members)),
            progress=ProgressComments(self._look, always=config.queue.progress_comments),
            continues=config.queue.continue_answers,
            bodies=self.bodies,
            beside=self._beside,
            fitting=fitting,
            note_prompt=self.prompts.note,
        )
        rewrite_ids = compat.rewrite_ids == "named"
        served = (
            *openai_routes(inference, rewrite_ids=rewrite_ids),
            *transcription_routes(inference),
            *anthropic_routes(inference, rewrite_ids=rewrite_ids),
            *rerank_routes(inference),
            *responses_routes(inference, self._kept, self._clock),
            *native_routes(inference, self.figures, rewrite_ids=rewrite_ids),
            *ollama_routes(
                inference, self._clock, self._release, OllamaChanges(self._offered, self.client_of)
            ),
            *lm_studio_routes(inference),
            *health_routes(self._view, self.vitals),
            *admin_routes(self._offered, self.client_of),
            *self._further_routes(),
        )
        return self._made(policy, self._every(config, served))

    def _made(self, policy: Policy, routes: tuple[Route, ...]) -> Door:
        sessions = self.entrance.sessions if self.entrance else None
        return Door(routes, policy, self._keyring, OPENAI, self.exchanges.refused, sessions)

    def serve_batches(self, batches: DaemonBatches) -> None:
        """Let clients have files and batches, on doors that are made from now on."""
        self.batches = batches

    async def open_entrance(self, state: Path) -> None:
        """Let people log in to the dashboard; the state folder has the key of their sessions.

        Raises:
            StateError: It can be neither read nor made.
        """
        if self.entrance is not None:
            self.entrance.sessions.secret = await asyncio.to_thread(signing_key, state)

    def _further_routes(self) -> tuple[Route, ...]:
        return (*self._ui_routes(), *self.further(self.client_of))

    def _ui_routes(self) -> tuple[Route, ...]:
        nodes = self._node_routes()
        if self.entrance is None:
            return nodes
        self.entrance.client_of = self.client_of
        return (*ui_routes(self.entrance), *nodes)

    def _node_routes(self) -> tuple[Route, ...]:
        return (
            () if self.node_door is None else node_routes(replace(self.node_door, client_of=self.client_of))
        )

    def _every(self, config: Config, served: Sequence[Route]) -> tuple[Route, ...]:
        """Return all routes: those that are served, batches of them, and their description."""
        routes = (*served, *self._batch_routes(config, served))
        return (*routes, *description_routes(routes))

    def _batch_routes(self, config: Config, served: Sequence[Route]) -> tuple[Route, ...]:
        """Return the routes of files and batches, whose lines go to what is served."""
        if self.batches is None:
            return ()
        self.batches.inside = InsideDoor(served, OPENAI)
        return self.batches.routes(config, self._base_of)

    def _base_of(self, request: web.BaseRequest) -> str:
        """Return the address under which a request has reached relayd."""
        secure = self._door.proxies.is_secure(request.headers, peer_of(request), secure=request.secure)
        return f"{'https' if secure else 'http'}://{request.headers['Host']}"

    def follow(self, door: Door) -> None:
        """Judge requests that come from now on by the rules of another door."""
        self._door = door

    @property
    def arriving(self) -> int:
        """How many requests have not arrived as a whole."""
        return len(self.bodies.senders)

    def interrupt(self, error: RequestError) -> None:
        """End every request that still arrives with `error`."""
        self.bodies.interrupt(error)

    def _tls(self, config: Config) -> ssl.SSLContext | None:
        """Read the certificate, if there is one, and return what handshakes use."""
        server = config.server
        if server.tls_cert:
            self.certificate = Certificate(Path(server.tls_cert), Path(server.tls_key))
        return self.certificate.context if self.certificate else None

    def client_of(self, request: web.BaseRequest) -> str:
        """Return the address of a request's sender, behind a proxy too."""
        return self._door.proxies.client(request.headers, peer_of(request))

    def _current(self) -> Door:
        return self._door

    def _note_fault(self, endpoint: Endpoint, message: str) -> None:
        self._journal.warning(
            "request.fault", replica=endpoint.replica, incarnation=endpoint.incarnation, message=message
        )
        if self.remotes is not None:
            self.remotes.note_fault(endpoint, message)

    def _note_busy(self, endpoint: Endpoint, seconds: float | None) -> None:
        if self.remotes is not None:
            self.remotes.note_busy(endpoint, seconds)


def _invited(url: str) -> tuple[str, ...]:
    """Return the host by which invites have nodes reach this hub: it need not be allowed besides."""
    host = urlsplit(url).hostname
    return (host,) if host else ()


def _fitting_of(compat: Compat, order: ToolOrder) -> Fitting:
    """Return what is changed in requests."""
    off = compat.hygiene_off if compat.hygiene else NAMES
    return Fitting(
        compat.fit_roles,
        compat.simplify_tools,
        compat.repair_calls,
        rules_but(off),
        None if TOOL_ORDER in off else order,
    )
