"""What clients may see of the models: `/v1/models`, and which replicas are ready (fleet view)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from relayd.api import ModelState, ModelView
from relayd.config import Config, Model
from relayd.config.schema import Server
from relayd.daemon.modelfacts import KnownFacts
from relayd.daemon.virtual import virtual_views
from relayd.desired.demo import is_demo
from relayd.dialects.turns import TemplateTraits
from relayd.gguf.facts import UNKNOWN, FileFacts, FileRecord
from relayd.planner import ReplicaSpec
from relayd.planner.budget import HOST
from relayd.remote import OfferState, RemoteModel
from relayd.router import TimeLimits, TokenLimit
from relayd.supervisor import State, Status
from relayd.supervisor.state import DOWN

_NONE: Mapping[str, FileRecord] = MappingProxyType({})

ON_DEMAND = "it is loaded when a request asks for it"


class FleetView:
    """The models as clients may see them; computed when something changed, not for each request.

    Args:
        config: The models that are configured.
        created: When, in seconds since 1970.
        statuses: How the replicas are now.
        facts: Knows what each model file states.
        traits: Returns which conversations the template of a model takes.
        elsewhere: Returns the models that upstreams and nodes serve.
    """

    def __init__(
        self,
        config: Config,
        created: float,
        statuses: Callable[[], Sequence[Status]],
        facts: KnownFacts | None = None,
        traits: Callable[[str], TemplateTraits | None] = lambda _: None,
        elsewhere: Callable[[], Sequence[RemoteModel]] = tuple,
    ) -> None:
        self._config = config
        self._facts = facts
        self._traits = traits
        self._created = int(created)
        self._statuses = statuses
        self._elsewhere = elsewhere
        self._view: tuple[ModelView, ...] | None = None
        self._begins = False

    def __repr__(self) -> str:
        return f"<FleetView: {len(self._config.model)} models{', outdated' if self._view is None else ''}>"

    def models(self) -> Sequence[ModelView]:
        """Return every configured model, in the order of the configuration, those elsewhere, virtual ones."""
        if self._view is None:
            statuses = self._statuses()
            remote = {model.name: model for model in self._elsewhere()}
            real = [
                _with_elsewhere(self._model(model, statuses), remote.pop(model.name, None))
                for model in self._config.model
            ]
            taken = {name for model in real for name in (model.name, *model.aliases)}
            real += (self._remote(one, taken) for one in remote.values() if one.name not in taken)
            self._view = (*real, *virtual_views(self._config, real))
        return self._view

    def named(self, name: str) -> str:
        """Return the model that an alias means; any other name as it is."""
        return next((model.name for model in self._config.model if name in model.aliases), name)

    def configure(self, config: Config, files: Mapping[str, FileRecord] = _NONE) -> None:
        """Show other models from now on.

        Args:
            config: The models.
            files: What was read of their files, by path.
        """
        self._config = config
        if self._facts is not None:
            self._facts.forget()
            self._facts.learn(files)
        self.changed()

    def begin(self, *, over: bool = False) -> None:
        """Show what is not in memory as about to load, until it is known what is to be loaded (`over`)."""
        self._begins = not over
        self.changed()

    def changed(self) -> None:
        """Look again at the next request."""
        self._view = None

    def _model(self, model: Model, statuses: Sequence[Status]) -> ModelView:
        ours = [self._shown(status) for status in statuses if status.spec.model == model.name]
        states, sizes = [status.state for status in ours], [status.spec for status in ours]
        host, device = _memory(ours)
        trained = self._facts.of(model.file).trained_context if self._facts else 0
        windows = [window_of(one.context, trained) for one in sizes]
        return ModelView(
            name=model.name,
            aliases=model.aliases,
            replicas_ready=states.count(State.READY),
            replicas=model.least_replicas,
            slots=min((one.slots for one in sizes), default=model.slots),
            context=min(windows, default=model.context),
            state=_together(ours),
            demo=is_demo(model.file),
            created=self._created,
            replicas_cold=sum(map(_is_where_it_should_be, ours)),
            facts=self._facts.of(model.file) if self._facts else UNKNOWN,
            abilities=self._abilities(model, sizes),
            reason=_reason(ours) if State.READY not in states else "",
            most_text=self._most_text(model, windows),
            is_affine=model.strategy == "prefix_affinity" and states.count(State.READY) > 1,
            is_default=self._config.server.default_model in (model.name, *model.aliases),
            host_bytes=host,
            device_bytes=device,
            times=_times(model).over(_times(self._config.server)),
            tokens=TokenLimit.of(model.max_tokens_default, model.max_tokens_limit),
            traits=self._traits(model.name),
        )

    def _remote(self, model: RemoteModel, taken: Collection[str]) -> ModelView:
        """Return a model that only others serve; it has no alias that is a name here."""
        offers = [one.offer for one in model.offers]
        aliases = dict.fromkeys(alias for offer in offers for alias in offer.aliases if alias not in taken)
        reasons = [one.reason for one in model.offers if one.reason]
        return ModelView(
            name=model.name,
            aliases=tuple(alias for alias in aliases if alias != model.name),
            replicas_ready=model.ready,
            replicas=len(offers),
            slots=min(offer.slots for offer in offers),
            context=min((offer.context for offer in offers if offer.context), default=0),
            state=_state_elsewhere(model),
            demo=False,
            created=self._created,
            abilities=tuple(dict.fromkeys(ability for offer in offers for ability in offer.abilities)),
            reason=reasons[0] if reasons and not model.ready else "",
            is_affine=any(one.strategy == "prefix_affinity" for one in offers) and model.ready > 1,
            is_default=self._config.server.default_model in (model.name, *aliases),
            times=_times(self._config.server),
            is_local=False,
            is_elsewhere=True,
        )

    def _shown(self, status: Status) -> Status:
        waits = self._begins and status.state is State.COLD
        return replace(status, state=State.WAITING) if waits else status

    def _most_text(self, model: Model, contexts: Sequence[int]) -> int:
        """Return the bytes of text that the largest slot holds; 0 while that is not known."""
        if self._facts is None or not contexts or not all(contexts):
            return 0
        return max(contexts) * self._facts.of(model.file).longest_token

    def _abilities(self, model: Model, specs: Sequence[ReplicaSpec]) -> tuple[str, ...]:
        """Return what a model can do; what a file decides is added once it is read."""
        if any(spec.pooling == "rank" for spec in specs):
            return ("rerank",)
        embeds = any(spec.embeddings for spec in specs) or model.embeddings
        facts = self._facts.of(model.file) if self._facts else UNKNOWN
        if embeds and not model.embeddings and not _chats(model, facts):
            return ("embedding",)
        projector = self._facts.of(model.projector) if self._facts else UNKNOWN
        can = {
            "completion": True,
            "tools": facts.takes_tools,
            "insert": facts.fills_in,
            "thinking": facts.thinks,
            "vision": projector.takes_images,
            "audio": projector.takes_audio,
            "embedding": embeds,
        }
        return tuple(name for name, is_so in can.items() if is_so)


_CELLS = 256
"""The engine's caches have a multiple of so many tokens (`llama-context.cpp`)."""


def window_of(context: int, trained: int) -> int:
    """Return the tokens that a slot really holds which was planned with some.

    Args:
        context: Tokens that it was planned with; 0 where the engine decides.
        trained: Tokens that the model was trained on, beyond which the engine gives none; 0 if not known.
    """
    rounded = -(-context // _CELLS) * _CELLS
    return min(rounded, trained) if trained else rounded


def _with_elsewhere(view: ModelView, remote: RemoteModel | None) -> ModelView:
    """Return a configured model with what others offer of it besides."""
    if remote is None:
        return view
    ready = view.replicas_ready + remote.ready
    state, reason = (ModelState.READY, "") if remote.ready else (view.state, view.reason)
    affine = any(one.offer.strategy == "prefix_affinity" for one in remote.offers) and ready > 1
    return replace(
        view,
        replicas_ready=ready,
        replicas=view.replicas + len(remote.offers),
        state=state,
        reason=reason,
        is_affine=view.is_affine or affine,
        is_elsewhere=True,
    )


def _state_elsewhere(model: RemoteModel) -> ModelState:
    if model.ready:
        return ModelState.READY
    if any(one.state is OfferState.EXPECTED for one in model.offers):
        return ModelState.LOADING
    if any(one.state in (OfferState.LOST, OfferState.PAUSED) for one in model.offers):
        return ModelState.WAITING
    return ModelState.COLD if model.is_coming else ModelState.FAILED


def _times(settings: Model | Server) -> TimeLimits:
    """Return how long the requests of a model, or of every model, may take."""
    return TimeLimits(settings.first_byte_seconds, settings.token_gap_seconds, settings.total_seconds)


def _reason(statuses: Sequence[Status]) -> str:
    """Return why none of a model's replicas serves, for clients: who holds memory is for operators."""
    if failed := [one.reason for one in statuses if one.has_failed]:
        return failed[0]
    if any(one.state is State.COLD for one in statuses):
        return ON_DEMAND
    given_up = (one.last_exit.message for one in statuses if one.state is State.FATAL and one.last_exit)
    return next(given_up, "")


def _chats(model: Model, facts: FileFacts) -> bool:
    """Return whether a file that makes vectors was made for conversations too.

    A template alone does not show it: embedding models keep that of the model they were made from.
    """
    names = (model.name, Path(model.file).name, facts.base_name)
    return bool(facts.template) and not any("embed" in name.casefold() for name in names)


def _memory(statuses: Sequence[Status]) -> tuple[int, int]:
    """Return the bytes of RAM, and of GPUs, that replicas which serve were planned to take."""
    needs = [one.planned.needs for one in statuses if one.state is State.READY]
    host = sum(one.get(HOST, 0) for one in needs)
    return host, sum(sum(one.values()) for one in needs) - host


def _is_where_it_should_be(one: Status) -> bool:
    """Return whether a replica is out of memory, and nothing is wrong with that."""
    return one.state is State.COLD and not one.has_failed and not one.planned.residence.growth


def _together(statuses: Sequence[Status]) -> ModelState:
    """Return how far a model is with these replicas; one that could not be loaded lately has failed."""
    states = [one.state for one in statuses]
    if State.READY in states:
        return ModelState.READY
    down = [one for one in statuses if one.state in DOWN]
    if len(down) == len(states) and any(one.has_failed for one in down):
        return ModelState.FAILED
    if states and all(state is State.FATAL for state in states):
        return ModelState.FAILED
    if states and all(state in (State.STOPPED, State.STOPPING, State.FATAL) for state in states):
        return ModelState.STOPPED
    if states and State.COLD in states and all(state in DOWN for state in states):
        return ModelState.COLD
    if states and all(state is State.WAITING or state in DOWN for state in states):
        return ModelState.WAITING
    return ModelState.LOADING
