"""Which models a command line means: configured ones, files, models on disk, the demo model."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from relayd.config import NAME, Config, Model, as_hub, model_name, told_apart
from relayd.desired.demo import demo_model
from relayd.errors import UsageError
from relayd.files import expanded, is_file, is_folder, text_path
from relayd.gguf import find_companions
from relayd.gguf.companions import is_gguf

Find = Callable[[str], Model]
"""Returns a model on disk by its name; raises `UsageError` when none is meant."""

NameFile = Callable[[Path], tuple[str, ...]]
"""Returns what a file's model is called everywhere, its own name first."""


def by_stem(path: Path) -> tuple[str, ...]:
    """Return the name of a file that nothing is known of."""
    return (path.stem,)


def chosen(
    config: Config, targets: Sequence[str], find: Find, *, demo: bool, name_file: NameFile = by_stem
) -> Config:
    """Return the configuration reduced to what the command line names.

    Args:
        config: What the files and the environment say.
        targets: Names of configured models, GGUF files, or names of models on disk; empty for all
            that are configured.
        find: Returns a model on disk with its names; raises `UsageError` when none is meant.
        demo: Whether the demo model runs, alone unless targets name others.
        name_file: Returns what a file's model is called.

    Raises:
        UsageError: A target is none of these.
    """
    if not targets and not demo:
        return config
    known = {name: model for model in config.model for name in (model.name, *model.aliases)}
    configured = {model.name: model for target in targets if (model := known.get(target))}
    others = [demo_model()] if demo else []
    others += [_unconfigured(target, find, name_file) for target in targets if target not in known]
    models = (*configured.values(), *told_apart(others, known))
    return msgspec.structs.replace(config, model=models)


def overridden(
    config: Config,
    *,
    listen: str | None = None,
    engine: str | None = None,
    log_level: str | None = None,
    hub: bool = False,
    bus: str | None = None,
    bus_credentials: Path | None = None,
) -> Config:
    """Return the configuration with the overrides of the command line."""
    if hub:
        config = as_hub(config)
    typed = {"url": bus, "credentials": bus_credentials and str(bus_credentials.absolute())}
    given = {name: value for name, value in typed.items() if value is not None}
    config = msgspec.structs.replace(config, bus=msgspec.structs.replace(config.bus, **given))
    if listen is not None:
        config = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, listen=listen))
    if engine is not None:
        config = msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, path=engine))
    if log_level is not None:
        config = msgspec.structs.replace(config, logs=msgspec.structs.replace(config.logs, level=log_level))
    return config


def _unconfigured(target: str, find: Find, name_file: NameFile) -> Model:
    path = text_path(expanded(target).absolute())
    if is_folder(path) and target.startswith((".", "/", "~")):
        remedy = "Name a .gguf file in it, or add it to `folders` in [models] and serve its models by name."
        raise UsageError(f"{path} is a folder, not a model", remedy=remedy)
    if not is_gguf(path.name) and not is_file(path):
        found = find(target)
        typed = () if target == found.name else (target,)
        return msgspec.structs.replace(found, aliases=(*found.aliases, *typed))
    projectors = find_companions(path).projectors if is_file(path) else ()
    projector = str(next(iter(projectors), ""))
    name, *others = name_file(path)
    aliases = tuple(one for one in others if NAME.fullmatch(one))
    return Model(name=model_name(name), file=str(path), projector=projector, aliases=aliases)
