"""Settings of models that were typed on the command line, in place of those of the configuration."""

import msgspec

from relayd.config import Config, Model
from relayd.desired.arguments import Overrides
from relayd.errors import UsageError


def with_overrides(config: Config, typed: Overrides, named: frozenset[str]) -> Config:
    """Return a configuration with what was typed for the models that were named.

    Raises:
        UsageError: None was named.
    """
    if not typed:
        return config
    if not named:
        raise UsageError(
            "--context, --slots, --gpu-layers and flags behind -- are for models that the line names",
            remedy="Name one: `relayd serve MODEL --context 8192`. For all models: relay.toml.",
        )
    models = tuple(_changed(one, typed) if one.name in named else one for one in config.model)
    return msgspec.structs.replace(config, model=models)


def _changed(model: Model, typed: Overrides) -> Model:
    found = {name: value for name in ("context", "slots") if (value := getattr(typed, name)) is not None}
    if typed.gpu_layers is not None:
        found["placement"] = msgspec.structs.replace(model.placement, gpu_layers=typed.gpu_layers)
    if typed.flags:
        found["args"] = (*model.args, *typed.flags)
    return msgspec.structs.replace(model, **found)
