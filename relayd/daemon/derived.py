"""How do administrators make a model of another one (a virtual model in models.toml), and remove it?

What is made has no file of its own: a name, a system prompt and parameters that the replicas of the other one
serve. It is checked and followed as a line of relay.toml would be.
"""

import asyncio
from typing import Any

from relayd.config import VirtualModel
from relayd.config.check import Surroundings, check
from relayd.config.written import drop, keep, written
from relayd.daemon.adminreport import MessageReport
from relayd.daemon.arguments import DeriveArguments, NameArguments
from relayd.daemon.modellines import ModelLines
from relayd.daemon.parts import DaemonParts
from relayd.errors import ModelNotFoundError, RequestError

_TABLE = "virtual"


class DerivedModels:
    """The models that administrators have made of others.

    Args:
        parts: Of the daemon.
        lines: Writes lines of models.toml down, and follows them.
    """

    def __init__(self, parts: DaemonParts, lines: ModelLines) -> None:
        self._parts = parts
        self._lines = lines

    def __repr__(self) -> str:
        return f"<DerivedModels: {len(self._parts.desired.config.virtual)} virtual models>"

    async def derive(self, arguments: DeriveArguments) -> MessageReport:
        """Make a model of another one, or of one that was made so; one of that name is replaced.

        Raises:
            ModelNotFoundError: There is no model to make it of.
            RequestError: The name is that of another model, or its settings cannot be followed.
        """
        name, config = arguments.name, self._parts.desired.config
        async with self._lines.changing:
            self._lines.check_configured()
            line = self._of(arguments.of) | {"name": name}
            if arguments.system:
                line["system"] = arguments.system
            if arguments.defaults:
                line["defaults"] = {**line.get("defaults", {}), **arguments.defaults}
            if name not in await self._written() and name in _names(config.model, config.virtual):
                raise RequestError(
                    f"{name[:128]!r} is the name of another model.", remedy="Choose another name."
                )
            self._check(line)
            state = self._parts.desired.paths.state
            await self._lines.apply(lambda: keep(line, state, _TABLE))
        return MessageReport(f"Model {name} made of {arguments.of}.")

    async def remove(self, arguments: NameArguments) -> MessageReport:
        """Remove a model that was made here, or added here.

        Raises:
            ModelNotFoundError: There is none of that name.
            RequestError: An operator has configured it.
        """
        if arguments.name not in await self._written():
            return await self._lines.remove(arguments)
        state = self._parts.desired.paths.state
        async with self._lines.changing:
            await self._lines.apply(lambda: drop(arguments.name, state, _TABLE))
        return MessageReport(f"Model {arguments.name} deleted successfully.")

    def _of(self, name: str) -> dict[str, Any]:
        """Return the settings that a model of another one begins with."""
        config = self._parts.desired.config
        for known in config.virtual:
            if name in (known.name, *known.aliases):
                return _settings(known)
        for model in config.model:
            if name in (model.name, *model.aliases):
                return {"models": [model.name]}
        raise ModelNotFoundError(f"There is no model {name[:128]!r}.", remedy="GET /api/tags lists them.")

    async def _written(self) -> set[str]:
        return {*await asyncio.to_thread(written, self._parts.desired.paths.state, _TABLE)}

    def _check(self, line: dict[str, Any]) -> None:
        """Make sure that a line is read as it is meant; its parameters are checked as it is followed.

        Raises:
            RequestError: It is not.
        """
        desired = self._parts.desired
        around = Surroundings(desired.paths.state, desired.site.home, desired.site.environ)
        if problems := check({_TABLE: [line]}, lambda _: "model", around).problems:
            raise RequestError("\n".join(problems), remedy="Nothing was changed.")


def _settings(model: VirtualModel) -> dict[str, Any]:
    """Return what a model that is made of this one takes over."""
    kept = {"models": [*model.models], "system": model.system, "set": model.set, "defaults": model.defaults}
    return {name: value for name, value in {**kept, "strip": [*model.strip]}.items() if value}


def _names(*lines: Any) -> set[str]:
    return {name for models in lines for one in models for name in (one.name, *one.aliases)}
