"""How do administrators add, change and remove models of other servers ([[upstream]] of models.toml)?"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from relayd.config.check import Surroundings, check
from relayd.config.remotelines import (
    STRATEGIES,
    Line,
    ServerList,
    remote_models,
    with_remote,
    without_remote,
)
from relayd.config.upstreams import name_of, repeated_upstreams
from relayd.config.written import replace_lines, written
from relayd.daemon.adminreport import ModelLineReport
from relayd.daemon.parts import DaemonParts
from relayd.daemon.report import ReloadReport
from relayd.errors import RequestError

_TABLE = "upstream"
_SETTINGS = ("servers", "strategy")


class Apply(Protocol):
    """Changes models.toml and follows that; what cannot be followed is taken back."""

    async def __call__(self, write: Callable[[], object], /) -> ReloadReport:
        """Return what the reload came to."""
        ...


class RemoteLines:
    """Models of other servers, as administrators see and change them.

    Args:
        parts: Of the daemon.
        apply: Writes down and follows.
    """

    def __init__(self, parts: DaemonParts, apply: Apply) -> None:
        self._parts = parts
        self._apply = apply

    def __repr__(self) -> str:
        return f"<RemoteLines: {len(self._lines())} upstreams>"

    async def reports(self) -> dict[str, ModelLineReport]:
        """Return every model that an upstream names, by its name."""
        own = remote_models(await self._written())
        return {name: self._report(name, one, own) for name, one in remote_models(self._lines()).items()}

    async def find(self, name: str) -> ServerList | None:
        """Return a model that was added here."""
        return remote_models(await self._written()).get(name)

    def is_named(self, name: str) -> bool:
        """Return whether an upstream names a model so."""
        return name in remote_models(self._lines())

    async def keep(self, name: str, settings: Mapping[str, Any]) -> ReloadReport:
        """Have a model served by servers, instead of those that it has.

        Args:
            name: The model.
            settings: `servers`, and `strategy` if it is not the one that it has.

        Raises:
            RequestError: They cannot be followed; nothing was changed.
        """
        known = await self.find(name)
        given = {setting: value for setting, value in settings.items() if value is not None}
        if other := next((setting for setting in given if setting not in _SETTINGS), None):
            raise RequestError(
                f"{other}: a model of other servers has `servers` and `strategy` alone.",
                remedy="Leave it out, or name a file of this machine instead of servers.",
                param=other,
            )
        servers = given.get("servers", known.servers if known else ())
        strategy = given.get("strategy", known.strategy if known else STRATEGIES[0])
        self._refuse_unreadable(servers, strategy)
        written_lines = await self._written()
        taken = {name_of(one.name, one.url) for one in self._parts.desired.config.upstream}
        remote = ServerList(tuple(dict.fromkeys(servers)), strategy)
        lines = with_remote(written_lines, name, remote, taken)
        await asyncio.to_thread(self._check, lines)
        return await self._apply(lambda: replace_lines(lines, self._state, _TABLE))

    async def drop(self, name: str) -> None:
        """Have no server that was named here serve a model; what runs there is finished."""
        lines = without_remote(await self._written(), name)
        await self._apply(lambda: replace_lines(lines, self._state, _TABLE))

    def _refuse_unreadable(self, servers: object, strategy: object) -> None:
        if (
            not isinstance(servers, list | tuple)
            or not servers
            or not all(isinstance(one, str) for one in servers)
        ):
            raise RequestError(
                "servers must be a list of URLs.",
                remedy='Send "servers": ["http://192.168.1.7:8000"].',
                param="servers",
            )
        if strategy not in STRATEGIES:
            raise RequestError(
                f"There is no strategy {str(strategy)[:64]!r}.",
                remedy=f"Use one of {', '.join(STRATEGIES)}.",
                param="strategy",
            )

    def _check(self, lines: list[Line]) -> None:
        """Make sure that lines would be read as they are meant. Blocks."""
        site = self._parts.desired.site
        around = Surroundings(self._state, site.home, site.environ)
        document = check({_TABLE: lines}, lambda _: "servers", around)
        if problems := [*document.problems, *repeated_upstreams(document.upstreams)]:
            raise RequestError("\n".join(problems), remedy="Nothing was changed.", param="servers")

    def _report(self, name: str, remote: ServerList, own: Mapping[str, ServerList]) -> ModelLineReport:
        load = self._parts.scheduler.load(name)
        return ModelLineReport(
            settings={"servers": [*remote.servers], "strategy": remote.strategy},
            written=name in own,
            running=load.running,
            waiting=load.waiting,
            slots=load.slots,
            servers=remote.servers,
            strategy=remote.strategy,
        )

    @property
    def _state(self) -> Path:
        return self._parts.desired.paths.state

    def _lines(self) -> list[dict[str, Any]]:
        return [
            {"url": one.url, "models": [*one.models], "strategy": one.strategy}
            for one in self._parts.desired.config.upstream
        ]

    async def _written(self) -> list[Line]:
        found = await asyncio.to_thread(written, self._state, _TABLE)
        return [*found.values()]
