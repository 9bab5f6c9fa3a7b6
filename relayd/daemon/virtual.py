"""How do virtual models look to clients, and may they set what they set?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from relayd.api import ModelState, ModelView
from relayd.config import Config, VirtualModel
from relayd.dialects.preset import Preset
from relayd.errors import ConfigError, RequestError
from relayd.router import LLAMA_SERVER

_NOT_SET = frozenset({
    "input", "messages", "model", "n", "n_cmpl", "prompt", "stream", "stream_options", "tools",
})  # fmt: skip
"""What only a client decides; the number of answers also decides how many slots a request takes."""

_RULES = {**LLAMA_SERVER["/v1/completions"].members, **LLAMA_SERVER["/v1/chat/completions"].members}

_DOWN = frozenset({ModelState.FAILED, ModelState.STOPPED})
"""States in which no request waits for a model."""


def check_virtual(config: Config) -> None:
    """Make sure that every virtual model sets what a client could send.

    Raises:
        ConfigError: One does not; all problems are named.
    """
    extra = frozenset(config.server.extra_members)
    if problems := [one for model in config.virtual for one in _problems(model, extra)]:
        raise ConfigError("\n".join(problems))


def _problems(model: VirtualModel, extra: frozenset[str]) -> Iterator[str]:
    for table, values in (("set", model.set), ("defaults", model.defaults)):
        title = f'[[virtual]] "{model.name}": {table}'
        for name, value in values.items():
            if problem := _problem(name, value, extra):
                yield f"{title}: {problem}"
    for name in sorted(set(model.strip) & ({*model.set, *model.defaults} | _NOT_SET)):
        why = "only a client decides it" if name in _NOT_SET else "it is set here too"
        yield f'[[virtual]] "{model.name}": strip: {name} cannot be taken out, {why}'


def _problem(name: str, value: object, extra: frozenset[str]) -> str:
    """Return why a member cannot have a value; "" where it can."""
    if name in _NOT_SET:
        return f"{name} cannot be set, only a client decides it"
    if (rule := _RULES.get(name)) is None:
        return "" if name in extra else f"there is no member {name}; add it to server.extra_members"
    try:
        rule.check(msgspec.Raw(msgspec.json.encode(value)))
    except (msgspec.MsgspecError, TypeError):
        return f"{name} must be {rule.wants}"
    except RequestError as error:
        return f"{name}: {error.message}"
    return ""


def virtual_views(config: Config, real: Sequence[ModelView]) -> Iterator[ModelView]:
    """Yield how each virtual model looks: as the first of its models that can serve.

    One of whose models none is there is left out. What it holds is what all of them hold.
    """
    by_name = {view.name: view for view in real}
    for model in config.virtual:
        chain = [by_name[name] for name in model.models if name in by_name]
        if not chain:
            continue
        chain.sort(key=lambda view: view.state in _DOWN)
        first = chain[0]
        yield replace(
            first,
            name=model.name,
            aliases=model.aliases,
            context=_least(view.window for view in chain),
            is_default=config.server.default_model in (model.name, *model.aliases),
            served_by=tuple(view.name for view in chain),
            preset=preset_of(model),
        )


def _least(windows: Iterable[int]) -> int:
    return min(filter(None, windows), default=0)


def preset_of(model: VirtualModel) -> Preset | None:
    """Return what a virtual model changes in a request; None where it only names others."""
    if not (model.set or model.defaults or model.strip or model.system):
        return None
    fixed: Mapping[str, Any] = model.set
    return Preset(fixed, model.defaults, frozenset(model.strip), model.system)
