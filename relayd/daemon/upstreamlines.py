"""How do administrators add and remove upstreams (lines of models.toml)?

An address comes from the configuration or from an administrator, never from a client. What is given over the
network is taken as it is written: no variable of the environment and no file of this machine is read for it,
as its content would go to the address.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relayd.config.check import Surroundings, check
from relayd.config.upstreams import name_of, repeated_upstreams
from relayd.config.written import FILE_NAME, drop, keep, written
from relayd.daemon.adminreport import MessageReport
from relayd.daemon.arguments import NameArguments, NoArguments, UpstreamLineArguments
from relayd.daemon.modellines import ModelLines
from relayd.daemon.parts import DaemonParts
from relayd.daemon.remotereport import upstream_reports
from relayd.daemon.upstreamreport import UpstreamReport, UpstreamsReport
from relayd.errors import NotFoundError, RequestError

_TABLE = "upstream"
_LOOK_SECONDS = 120.0


class UpstreamLines:
    """The upstreams, as administrators see and change them.

    Args:
        parts: Of the daemon.
        lines: Writes lines of models.toml down, and follows them.
    """

    def __init__(self, parts: DaemonParts, lines: ModelLines) -> None:
        self._parts = parts
        self._lines = lines

    def __repr__(self) -> str:
        return f"<UpstreamLines on {self._parts.upstreams!r}>"

    async def upstreams(self, _arguments: NoArguments) -> UpstreamsReport:
        """Return every upstream, with what it serves."""
        return UpstreamsReport(upstream_reports(self._parts))

    async def add(self, arguments: UpstreamLineArguments) -> UpstreamReport:
        """Add an upstream, and return it once it has answered for the first time.

        Raises:
            RequestError: There is one of that name, or its settings cannot be followed.
        """
        line = {**arguments.settings, "url": arguments.url}
        line["name"] = name_of(str(line.get("name", "")), arguments.url)
        async with self._lines.changing:
            await asyncio.to_thread(self._check, line)
            await self._lines.apply(lambda: keep(line, self._state, _TABLE))
        await self._parts.upstreams.settled(_LOOK_SECONDS)
        return next(one for one in upstream_reports(self._parts) if one.name == line["name"])

    async def remove(self, arguments: NameArguments) -> MessageReport:
        """Remove an upstream that was added here; what runs there is finished.

        Raises:
            NotFoundError: There is none of that name in models.toml.
        """
        name = arguments.name
        async with self._lines.changing:
            if name not in (known := await self._written()):
                raise NotFoundError(
                    f"{FILE_NAME} has no upstream {name[:128]!r}.",
                    remedy=f"It has {', '.join(known) or 'none'}; those of relay.toml are changed there.",
                )
            await self._lines.apply(lambda: drop(name, self._state, _TABLE))
        return MessageReport(f"Upstream {name} deleted successfully.")

    @property
    def _state(self) -> Path:
        return self._parts.desired.paths.state

    async def _written(self) -> Mapping[str, Mapping[str, Any]]:
        return await asyncio.to_thread(written, self._state, _TABLE)

    def _check(self, line: Mapping[str, Any]) -> None:
        """Make sure that a line would be read as it is meant. Blocks.

        Raises:
            RequestError: Everything that is wrong with it.
        """
        if line.get("key_file") or "${" in str(line.get("key", "")):
            raise RequestError(
                "key: no file or variable of this machine is read for another one.",
                remedy="Send the key itself, or write the line to relay.toml.",
                param="key",
            )
        site = self._parts.desired.site
        around = Surroundings(self._state, site.home, site.environ)
        document = check({_TABLE: [line]}, lambda _: _TABLE, around)
        known = [
            ("the configuration", {"name": name_of(one.name, one.url), "url": one.url})
            for one in self._parts.desired.config.upstream
        ]
        if problems := document.problems or repeated_upstreams([*known, *document.upstreams]):
            raise RequestError("\n".join(problems), remedy="Nothing was changed.")
