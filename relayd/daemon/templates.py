"""Which conversations do the templates of the models take, and how do they continue an answer?

A replica that has come up is asked: the engine renders each probe without a slot (`/apply-template`), one
after another, while requests go on. What was found is kept by the hash of the template in the state folder,
so that a model that is cold, or a daemon that has just started, knows it before the first request.
"""

import asyncio
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path

import msgspec

from relayd.dialects.templateprobe import VERSION, probes, traits_of
from relayd.dialects.turns import TemplateTraits
from relayd.endpoint import Endpoint
from relayd.errors import StateError, UpstreamError
from relayd.journal import Journal
from relayd.router import Call, Fetched, Pools, continuation_probes
from relayd.store.kept import SCHEMA, KeptFile

FILE = "templates.json"

_PROBE_SECONDS = 10.0
"""How long one rendering may take: 50 ms on a busy machine."""

_MOST_KEPT = 500
"""Templates that are remembered."""


class _TemplateFile(msgspec.Struct, frozen=True, kw_only=True):
    probes: int = VERSION
    templates: dict[str, TemplateTraits] = {}
    models: dict[str, str] = {}
    continuations: dict[str, dict[str, str]] = {}
    schema: int = SCHEMA


class _TemplateInUse(msgspec.Struct, frozen=True):
    chat_template: str = ""
    build_info: str = ""


class _RenderedPrompt(msgspec.Struct, frozen=True):
    prompt: str = ""


_props = msgspec.json.Decoder(_TemplateInUse)
_rendered = msgspec.json.Decoder(_RenderedPrompt)


class TemplateBook:
    """What the template of each model takes.

    Args:
        state: The state folder.
        pools: Connections to replicas.
        serving: Returns the model of a replica and where it is served; None for one that is gone.
        on_known: Called when more is known.
    """

    def __init__(
        self,
        state: Path,
        pools: Pools,
        serving: Callable[[str], tuple[str, Endpoint] | None],
        on_known: Callable[[], None],
    ) -> None:
        self._file = KeptFile(state / FILE, _TemplateFile)
        self._pools = pools
        self._serving = serving
        self._on_known = on_known
        self._templates: dict[str, TemplateTraits] = {}
        self._models: dict[str, str] = {}
        self._continuations: dict[str, dict[str, str]] = {}
        self._recalled: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._looks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<TemplateBook templates={len(self._templates)} models={len(self._models)}>"

    def of(self, model: str) -> TemplateTraits | None:
        """Return what the template of a model takes; None while that is not known."""
        self._recall()
        return self._templates.get(self._models.get(model, ""))

    def continuation_of(self, model: str) -> Mapping[str, str]:
        """Return how prompts of continued chats begin: where the answer broke off → a `Beginning`."""
        return self._continuations.get(self._models.get(model, ""), {})

    def look(self, replica: str) -> None:
        """Look at the template of a replica that has come up; returns at once."""
        task = asyncio.get_running_loop().create_task(self._look(replica))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def known(self) -> None:
        """Wait until everything that was asked for is known."""
        await asyncio.gather(self._recall(), *self._looks)

    def _recall(self) -> "asyncio.Task[None]":
        if self._recalled is None:
            self._recalled = asyncio.get_running_loop().create_task(self._read())
        return self._recalled

    async def _read(self) -> None:
        document = await asyncio.to_thread(self._file.read)
        if document is not None and document.probes == VERSION:
            self._templates = {**document.templates, **self._templates}
            self._models = {**document.models, **self._models}
            self._continuations = {**document.continuations, **self._continuations}
            self._on_known()

    async def _look(self, replica: str) -> None:
        await self._recall()
        async with self._turn:
            if (found := self._serving(replica)) is None:
                return
            model, endpoint = found
            try:
                await self._learn(model, endpoint)
            except (OSError, UpstreamError, msgspec.DecodeError) as error:
                Journal("template").debug("template.not_probed", replica=replica, message=str(error))
            except StateError as error:
                Journal("template").warning("template.not_written", message=error.message)

    async def _learn(self, model: str, endpoint: Endpoint) -> None:
        """Probe a template that is not known, and keep what was found.

        Raises:
            OSError: The replica does not answer in time.
            UpstreamError: Its answer is not HTTP.
            msgspec.DecodeError: It is not the engine's.
            StateError: What was found cannot be written.
        """
        props = _props.decode((await self._ask(endpoint, Call.get("/props"))).body)
        if not props.chat_template:
            return
        text = f"{props.build_info}\0{props.chat_template}"
        name = blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
        is_known = name in self._templates and name in self._continuations
        if is_known and self._models.get(model) == name:
            return
        if not is_known:
            if (traits := await self._probed(endpoint)) is None:
                return
            self._templates[name] = traits
            self._continuations[name] = begins = await self._compared(endpoint)
            refused = [field for field in traits.__struct_fields__ if not getattr(traits, field)]
            Journal("template").info(
                "template.probed",
                model=model,
                refused=",".join(refused) or "nothing",
                differs=",".join(case for case, how in begins.items() if how == "differs") or "nothing",
            )
        self._models[model] = name
        self._on_known()
        await asyncio.to_thread(self._file.write, self._document())

    async def _probed(self, endpoint: Endpoint) -> TemplateTraits | None:
        """Return what a template takes; None where that cannot be known."""
        taken = dict[int, bool]()
        for number, probe in enumerate(probes()):
            status, prompt = await self._render(endpoint, probe.body)
            taken[number] = probe.is_taken(status, prompt)
        return traits_of(taken)

    async def _compared(self, endpoint: Endpoint) -> dict[str, str]:
        """Return how the prompts of continued chats begin."""
        found = dict[str, str]()
        for probe in continuation_probes():
            prompts = [await self._render(endpoint, body) for body in (probe.before, probe.after)]
            before, after = (prompt if status == 200 else None for status, prompt in prompts)
            found[probe.name] = probe.compare(before, after)[0].value
        return found

    async def _render(self, endpoint: Endpoint, body: bytes) -> tuple[int, str]:
        """Return the status and the prompt of a chat."""
        fetched = await self._ask(endpoint, Call("/apply-template", body))
        return fetched.status, _rendered.decode(fetched.body).prompt if fetched.status == 200 else ""

    def _document(self) -> _TemplateFile:
        kept = dict(list(self._templates.items())[-_MOST_KEPT:])
        return _TemplateFile(
            templates=kept,
            models={model: name for model, name in self._models.items() if name in kept},
            continuations={name: one for name, one in self._continuations.items() if name in kept},
        )

    async def _ask(self, endpoint: Endpoint, call: Call) -> Fetched:
        return await self._pools.fetch(endpoint, call, timeout_seconds=_PROBE_SECONDS)
