"""What does each verb of the control socket do?"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from relayd.errors import UsageError
from relayd.supervisor import Fleet, Replica, State

Verb = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Commands:
    """The verbs, on the parts of a running daemon.

    Args:
        fleet: The replicas.
        named: Returns the model that an alias means.
        report: Makes the answer of `status`.
        reload: Reads the configuration again and follows it.
        preview: Says what a reload would change.
        end: Ends the daemon and every replica.
        upgrade: Puts a new daemon in this one's place; told how long streams may take, in seconds.
        check_staying: Raises `RelaydError` when this daemon is about to end.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        named: Callable[[str], str],
        report: Callable[[], Awaitable[dict[str, Any]]],
        reload: Callable[[], Awaitable[dict[str, Any]]],
        preview: Callable[[], Awaitable[dict[str, Any]]],
        end: Callable[[], int],
        upgrade: Callable[[float | None], Awaitable[dict[str, Any]]],
        check_staying: Callable[[], None],
    ) -> None:
        self._fleet = fleet
        self._named = named
        self._report = report
        self._reload = reload
        self._preview = preview
        self._end = end
        self._upgrade = upgrade
        self._check_staying = check_staying

    def verbs(self) -> Mapping[tuple[str, str], Verb]:
        """Return every verb by method and name: a closed set."""
        return {
            ("GET", "status"): self._status,
            ("POST", "start"): self._start,
            ("POST", "stop"): self._stop,
            ("POST", "drain"): self._drain,
            ("POST", "restart"): self._restart,
            ("POST", "reload"): self._reload_now,
            ("POST", "upgrade"): self._upgrade_now,
        }

    async def _status(self, _arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._report()

    async def _start(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._check_staying()
        replicas = self._select(arguments)
        for replica in replicas:
            replica.start()
        settled = (State.READY, State.FATAL, State.STOPPED)
        return {
            "replicas": {replica.spec.name: (await replica.reached(*settled)).value for replica in replicas}
        }

    async def _stop(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments.get("all") is True:
            return {"stopping": self._end()}
        return await self._bring_down(arguments, self._fleet.drain_seconds)

    async def _drain(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._bring_down(arguments, None)

    async def _bring_down(self, arguments: dict[str, Any], drain_timeout: float | None) -> dict[str, Any]:
        replicas = self._select(arguments)
        await self._fleet.stop(replicas, drain_timeout)
        return {"replicas": {replica.spec.name: replica.state.value for replica in replicas}}

    async def _restart(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._check_staying()
        rolling = arguments.get("rolling") is True
        states = await self._fleet.restart(self._select(arguments), rolling=rolling)
        return {"replicas": {name: state.value for name, state in states.items()}}

    async def _reload_now(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return await (self._preview() if arguments.get("dry_run") is True else self._reload())

    async def _upgrade_now(self, arguments: dict[str, Any]) -> dict[str, Any]:
        drain = arguments.get("drain_seconds")
        if drain is not None and not (isinstance(drain, int | float) and drain >= 0):
            raise UsageError(f"{drain!r} is no number of seconds", remedy="give one of at least 0")
        return await self._upgrade(drain)

    def _select(self, arguments: dict[str, Any]) -> list[Replica]:
        target = arguments.get("target")
        if target is not None and not isinstance(target, str):
            raise UsageError(f"{target!r} is no name", remedy="name a model or a replica, MODEL#N")
        return self._fleet.select(target and self._named(target))
