"""How do administrators add, change and remove models (lines of models.toml)?

What is asked for is checked like a configuration file, written down, and followed by a reload; what cannot be
followed is taken back. relay.toml is an operator's own file, and is never changed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from relayd.config import Config, Model, drop, file_problem, keep, written_models
from relayd.config.check import Surroundings, check, contradictions, repeated_names
from relayd.config.written import FILE_NAME
from relayd.daemon.adminreport import MessageReport, ModelLineReport
from relayd.daemon.arguments import ModelLineArguments, NameArguments, NoArguments
from relayd.daemon.parts import DaemonParts
from relayd.daemon.remotelines import RemoteLines
from relayd.daemon.report import ReloadReport
from relayd.desired.disk import servable_model
from relayd.desired.display import Silent
from relayd.errors import ModelNotFoundError, RelaydError, RequestError
from relayd.files import write_atomic
from relayd.models.stores import places_of

_FILES = ("file", "projector")


class ModelLines:
    """The configured models, as administrators see and change them.

    Args:
        parts: Of the daemon.
        reload: Follows the configuration anew.

    Attributes:
        changing: Held while models.toml is changed.
    """

    def __init__(self, parts: DaemonParts, reload: Callable[[], Awaitable[ReloadReport]]) -> None:
        self._parts = parts
        self._reload = reload
        self._elsewhere = RemoteLines(parts, self.apply)
        self.changing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<ModelLines: {len(self._parts.desired.config.model)} models>"

    async def models(self, _arguments: NoArguments) -> dict[str, ModelLineReport]:
        """Return every model by its name."""
        written = await asyncio.to_thread(written_models, self._state)
        own = {one.name: self._report(one, written) for one in self._config.model}
        return await self._elsewhere.reports() | own

    async def model(self, arguments: NameArguments) -> ModelLineReport:
        """Return one model.

        Raises:
            ModelNotFoundError: There is none of that name.
        """
        written = await asyncio.to_thread(written_models, self._state)
        if self._elsewhere.is_named(arguments.name):
            return (await self.models(NoArguments()))[arguments.name]
        return self._report(self._find(arguments.name), written)

    async def add(self, arguments: ModelLineArguments) -> MessageReport:
        """Add a model; without a file or servers it is the one on this disk that is called so.

        Raises:
            RequestError: There is one of that name, or its settings cannot be followed.
        """
        name, settings = arguments.name, arguments.settings
        async with self.changing:
            self.check_configured()
            known = any(name in (one.name, *one.aliases) for one in self._config.model)
            if known or self._elsewhere.is_named(name):
                raise RequestError("Model already exists", remedy=f"Change it: PUT /admin/models/{name}.")
            if settings.get("servers"):
                report = await self._elsewhere.keep(name, settings)
                return MessageReport(f"Model {name} added successfully.", report.replicas or {})
            settings = {key: value for key, value in settings.items() if key != "servers"}
            if "file" not in settings:
                settings = await asyncio.to_thread(self._on_disk, name) | settings
            report = await self._follow({"name": name, **settings})
        return MessageReport(f"Model {name} added successfully.", report.replicas or {})

    async def change(self, arguments: ModelLineArguments) -> MessageReport:
        """Change settings of a model that was added here; None takes one back.

        Raises:
            ModelNotFoundError: There is none of that name.
            RequestError: Nothing is to be changed, or it cannot be followed.
        """
        if not (settings := arguments.settings):
            raise RequestError("No updates provided", remedy="Send settings of [[model]].")
        async with self.changing:
            if await self._elsewhere.find(arguments.name):
                report = await self._elsewhere.keep(arguments.name, settings)
                return MessageReport(f"Model {arguments.name} updated successfully.", report.replicas or {})
            line = await self._written(arguments.name)
            changed = {name: value for name, value in (line | settings).items() if value is not None}
            report = await self._follow({**changed, "name": line["name"]})
        return MessageReport(f"Model {line['name']} updated successfully.", report.replicas or {})

    async def remove(self, arguments: NameArguments) -> MessageReport:
        """Remove a model that was added here, once its requests are finished.

        Raises:
            ModelNotFoundError: There is none of that name.
            RequestError: It is not one that was added here.
        """
        async with self.changing:
            if await self._elsewhere.find(arguments.name):
                await self._elsewhere.drop(arguments.name)
                return MessageReport(f"Model {arguments.name} deleted successfully.")
            line = await self._written(arguments.name)
            await self.apply(lambda: drop(line["name"], self._state))
        return MessageReport(f"Model {line['name']} deleted successfully.")

    @property
    def _state(self) -> Path:
        return self._parts.desired.paths.state

    @property
    def _config(self) -> Config:
        return self._parts.desired.config

    def _report(self, model: Model, written: Mapping[str, object]) -> ModelLineReport:
        load = self._parts.scheduler.load(model.name)
        return ModelLineReport(
            settings=settings_of(model),
            written=model.name in written,
            running=load.running,
            waiting=load.waiting,
            slots=load.slots,
            replicas={
                one.spec.name: one.state.value
                for one in self._parts.fleet.statuses()
                if one.spec.model == model.name
            },
            strategy=model.strategy,
        )

    def _find(self, name: str) -> Model:
        for model in self._config.model:
            if name in (model.name, *model.aliases):
                return model
        known = ", ".join(one.name for one in self._config.model) or "none"
        raise ModelNotFoundError(f"There is no model {name[:128]!r}.", remedy=f"There is {known}.")

    async def _written(self, name: str) -> dict[str, Any]:
        """Return the settings of a model that was added here."""
        found = self._find(name).name
        if (line := (await asyncio.to_thread(written_models, self._state)).get(found)) is None:
            raise RequestError(
                f"{found} is not in {FILE_NAME}, so it cannot be changed here.",
                remedy="Change relay.toml, or what was typed, and POST /admin/reload.",
            )
        return line

    def check_configured(self) -> None:
        """Refuse a model that would not be served, or would end those that are.

        Raises:
            RequestError: The daemon serves what was typed, or what it has chosen itself.
        """
        given = self._parts.desired.arguments
        if given.targets or given.demo:
            raise RequestError(
                "This daemon serves only what was named on its command line.",
                remedy="Start it without names: relayd serve.",
            )
        if self._parts.desired.chosen:
            raise RequestError(
                "This daemon serves what it finds on this disk, as no model is configured; one that is "
                "added would be the only one.",
                remedy="Configure the models in relay.toml first.",
            )

    def _on_disk(self, name: str) -> dict[str, Any]:
        desired = self._parts.desired
        return settings_of(servable_model(name, desired.site, self._config.models.folders, Silent()))

    async def _follow(self, line: dict[str, Any]) -> ReloadReport:
        """Check a line, write it down and follow it."""
        await asyncio.to_thread(self._check, line)
        return await self.apply(lambda: keep(line, self._state))

    async def apply(self, write: Callable[[], object]) -> ReloadReport:
        """Change models.toml and follow that; what cannot be followed is taken back.

        Raises:
            RelaydError: It cannot be followed.
        """
        path = self._state / FILE_NAME
        before = await asyncio.to_thread(path.read_bytes) if path.exists() else None
        await asyncio.to_thread(write)
        try:
            return await self._reload()
        except RelaydError as error:
            await asyncio.to_thread(_restore, path, before)
            raise RequestError(error.message, remedy=error.remedy) from error

    def _check(self, line: dict[str, Any]) -> None:
        """Make sure that a line would be read as it is meant, and that its files may be served. Blocks.

        Raises:
            RequestError: Everything that is wrong with it.
        """
        site = self._parts.desired.site
        around = Surroundings(self._state, site.home, site.environ)
        document = check({"model": [line]}, lambda _: "model", around)
        others = [
            ("the configuration", settings_of(one) | {"name": one.name})
            for one in self._config.model
            if one.name != line["name"]
        ]
        problems = [
            *document.problems,
            *repeated_names([*others, *document.models]),
            *contradictions(document.models),
        ]
        if not problems:
            problems = self._file_problems(document.models[0][1])
        if problems:
            raise RequestError("\n".join(problems), remedy="Nothing was changed.")

    def _file_problems(self, model: Mapping[str, Any]) -> list[str]:
        """Return why files of a model cannot be served: only folders of models are opened from afar."""
        site, config = self._parts.desired.site, self._config
        places = places_of(site.environ, site.home, site.data, config.models.folders)
        roots = [
            places.own, *places.folders, *places.hubs, *places.lmstudio, *places.ollama, *places.llama_cpp,
            *(Path(one.file).parent for one in config.model),
        ]  # fmt: skip
        files = [Path(model[name]) for name in _FILES if model.get(name)]
        files += [Path(one["file"]) for one in model.get("lora", ())]
        allowed = {root.resolve() for root in roots}
        return [
            f"model: {problem}"
            for file in files
            if (problem := file_problem(file) if allowed & {*file.resolve().parents} else _outside(file))
        ]


def settings_of(model: Model) -> dict[str, Any]:
    """Return what the line of a model sets, without its name and what has its default."""
    standard = Model(name=model.name, file="")
    return {
        name: msgspec.json.decode(msgspec.json.encode(value))  # lists, where `to_builtins` keeps tuples
        for name in model.__struct_fields__
        if name != "name" and (value := getattr(model, name)) != getattr(standard, name)
    }


def _outside(file: Path) -> str:
    return f"{file} is in no folder of models; add its folder to `folders` in [models]"


def _restore(path: Path, before: bytes | None) -> None:
    if before is None:
        path.unlink(missing_ok=True)
    else:
        write_atomic(path, before)
