"""Which workers of ModelRelay's protocol are connected, and how does what they serve become capacity here?"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Protocol

from relayd.errors import InvalidMessageError
from relayd.journal import Journal
from relayd.profile import EndpointProfile
from relayd.remote.capacity import RemoteOffer, Remotes
from relayd.remote.modelrelay.connection import Alarm, Soon, WorkerAddress
from relayd.remote.modelrelay.messages import (
    VERSION,
    Register,
    RegisterAck,
    read_from_worker,
)
from relayd.remote.modelrelay.registration import (
    DEFAULT_PROVIDER,
    LONGEST_NAME,
    is_version_known,
    worker_label,
)
from relayd.remote.modelrelay.session import PING_SECONDS, SILENT_SECONDS, Outlet, WorkerFacts, WorkerSession

BACK_SECONDS = 5.0
"""How long requests wait for a worker that is gone: the stock one connects again after 1 or 2 s."""

REGISTER_SECONDS = 10.0
"""How long a worker may take to register once it is connected."""

PROTOCOL_ERROR = 1002
NORMAL = 1000
NOT_A_REGISTRATION = "worker registration protocol error"
INVALID = "worker protocol error"
SILENT = "worker heartbeat timed out"

_KIND = "worker"


class WorkerSocket(Outlet, Protocol):
    """The WebSocket of a worker, which also receives."""

    async def receive(self, seconds: float) -> str | None:
        """Return the next text frame; an empty one stands for a sign of life without text; None once closed.

        Raises:
            TimeoutError: Nothing came in so many seconds.
            InvalidMessageError: A binary frame came.
        """
        ...


class Workers:
    """Every worker that is connected.

    Args:
        remotes: Capacity elsewhere.
        loop: Returns the event loop, once there is one.
        ping_seconds: How long one may be silent before it is sent a ping.
        silent_seconds: How long before it counts as lost.
    """

    def __init__(
        self,
        remotes: Remotes,
        loop: Callable[[], Soon] = asyncio.get_running_loop,
        *,
        ping_seconds: float = PING_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self._remotes = remotes
        self._loop = loop
        self._ping_seconds, self._silent_seconds = ping_seconds, silent_seconds
        self._sessions: dict[str, WorkerSession] = {}
        self._offered: dict[str, dict[str, int]] = {}
        self._forgetting: dict[str, Alarm] = {}
        self._numbers = itertools.count(1)
        self._is_closing = False
        self._journal = Journal("remote")

    def __repr__(self) -> str:
        return f"<Workers connected={len(self._sessions)} lost={len(self._forgetting)}>"

    def __iter__(self) -> Iterator[WorkerFacts]:
        return (session.facts() for session in tuple(self._sessions.values()))

    def find(self, label: str) -> WorkerSession | None:
        """Return the session of a worker; None while it is not connected."""
        return self._sessions.get(label)

    async def serve(self, socket: WorkerSocket, provider: str, peer: str) -> None:
        """Carry a worker's session, from its registration until its WebSocket closes.

        Args:
            socket: Its WebSocket; its secret is accepted.
            provider: The label of its group.
            peer: Where it connects from.
        """
        session = await self._register(socket, provider, peer)
        if session is None:
            socket.close(PROTOCOL_ERROR, NOT_A_REGISTRATION)
            return
        reason = "its connection was closed"
        try:
            reason = await self._read(socket, session)
        finally:
            session.lost(reason)

    def drain(self, seconds: float, reason: str) -> None:
        """Have every worker finish what it has, and close: this daemon ends."""
        self._is_closing = True
        for session in tuple(self._sessions.values()):
            session.drain(seconds, reason)

    def drain_worker(self, label: str, seconds: float, reason: str) -> bool:
        """Have one worker finish what it has, and close; return whether it is connected."""
        session = self._sessions.get(label)
        if session is not None:
            session.drain(seconds, reason)
        return session is not None

    def refresh(self) -> None:
        """Ask every worker for its models."""
        for session in self._sessions.values():
            session.refresh()

    def close(self) -> None:
        """Forget every worker."""
        for timer in self._forgetting.values():
            timer.cancel()
        self._forgetting.clear()
        for session in tuple(self._sessions.values()):
            session.lost("this hub ended")
        for timer in self._forgetting.values():
            timer.cancel()

    async def _register(self, socket: WorkerSocket, provider: str, peer: str) -> WorkerSession | None:
        """Accept a worker, and return its session; None if its first frame is not a registration."""
        try:
            register = read_from_worker(await socket.receive(REGISTER_SECONDS) or "{}")
        except (TimeoutError, InvalidMessageError):
            register = None
        if not isinstance(register, Register) or not is_version_known(register):
            self._journal.warning("worker.refused", address=peer, reason=NOT_A_REGISTRATION)
            return None
        label = worker_label(register.worker_name, self._sessions.keys() | set())
        provider = provider[:LONGEST_NAME] or DEFAULT_PROVIDER
        session = WorkerSession(
            f"worker-{next(self._numbers)}", label, provider, register, socket, self._loop(), self._changed
        )
        self._sessions[label] = session
        if (timer := self._forgetting.pop(label, None)) is not None:
            timer.cancel()
        accepted = session.accepted
        session.send(
            RegisterAck(
                session.worker_id, list(accepted.models), list(accepted.warnings),
                VERSION if register.protocol_version else None,
            )
        )  # fmt: skip
        self._journal.info(
            "worker.connected", worker=label, provider=provider, address=peer, slots=session.slots,
            models=",".join(accepted.models), warnings=" ".join(accepted.warnings),
        )  # fmt: skip
        if accepted.has_wildcard and not accepted.models:
            session.refresh()
        if self._is_closing:
            session.drain(1.0, "this hub ends")
        self._changed(session)
        return session

    async def _read(self, socket: WorkerSocket, session: WorkerSession) -> str:
        """Take what a worker sends, and return why that ends."""
        silent = 0.0
        while not session.is_lost:
            try:
                frame = await socket.receive(self._ping_seconds)
                if frame is None:
                    return "its connection was closed"
                silent = 0.0
                if frame:
                    session.receive(frame)
            except TimeoutError:
                silent += self._ping_seconds
                if silent >= self._silent_seconds:
                    socket.close(NORMAL, SILENT)
                    return SILENT
                session.ping()
            except InvalidMessageError as error:
                socket.close(PROTOCOL_ERROR, INVALID)
                return str(error)
        return "it was drained"

    def _changed(self, session: WorkerSession) -> None:
        """Offer what a worker serves now, and withdraw what it does not serve any more."""
        label = session.label
        if session.is_lost:
            self._lost(session)
            return
        before = self._offered.get(label, {})
        now = {model: session.free_for(model) for model in session.accepted.models}
        if session.is_draining:
            for model in now:
                self._remotes.pause(name_of(model, label), f"{label} drains")
            return
        for model in before.keys() - now.keys():
            self._remotes.withdraw(name_of(model, label), f"{label} does not serve it any more")
        for model, slots in now.items():
            if before.get(model) != slots:
                self._offer(session, model, slots)
        self._offered[label] = now

    def _offer(self, session: WorkerSession, model: str, slots: int) -> None:
        label = session.label
        offer = RemoteOffer(
            name_of(model, label), model, max(slots, 1), WorkerAddress(label, self.find),
            EndpointProfile(model=model, continues=False),
            origin=label, kind=_KIND, provider=session.provider,
        )  # fmt: skip
        if slots:
            self._remotes.offer(offer)
        else:
            self._remotes.expect(offer)
            self._remotes.pause(offer.replica, "all of its slots are used by others")

    def _lost(self, session: WorkerSession) -> None:
        """Take note that a worker is gone: requests wait for a moment for it, or for another."""
        label = session.label
        if self._sessions.get(label) is not session:
            return
        del self._sessions[label]
        self._journal.warning("worker.lost", worker=label, reason=session.reason)
        for model in self._offered.get(label, {}):
            self._remotes.lose(name_of(model, label), f"worker {label} is not connected")
        self._offered[label] = dict.fromkeys(self._offered.get(label, {}), 0)
        self._forgetting[label] = self._loop().call_later(BACK_SECONDS, self._forget, label)

    def _forget(self, label: str) -> None:
        self._forgetting.pop(label, None)
        for model in self._offered.pop(label, {}):
            self._remotes.withdraw(name_of(model, label), f"worker {label} is not connected")


def name_of(model: str, label: str) -> str:
    """Return the name that a worker's share of a model has as a replica."""
    return f"{model}@{label}"
