"""Settings as an earlier relayd wrote them, read into the present ones (migration).

Each rule stands for one release, with a warning where a person wrote the setting.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from relayd.config.locate import KeyPath

WRITTEN = 2
"""Layout of what relayd writes itself: models.toml, and what `relayd serve` chose. 1 carried none, and kept a
placement as flags in `args`."""

_TEXT = {"--cache-type-k": "cache_type_k", "--cache-type-v": "cache_type_v"}
_NUMBERS = {
    "--gpu-layers": "gpu_layers",
    "--n-cpu-moe": "experts_on_cpu",
    "--batch-size": "batch",
    "--ubatch-size": "micro_batch",
}
_NUMBER = re.compile(r"\d+(\.\d+)?")
_SWITCHES = {"--kv-unified": True, "--no-kv-unified": False}


def migrated(data: Mapping[str, Any], place: Callable[[KeyPath], str]) -> tuple[Mapping[str, Any], list[str]]:
    """Return a parsed relay.toml with what is spelt as in the last release, and a warning for each."""
    models = data.get("model")
    if not isinstance(models, list):
        return dict(data), []
    warnings = []
    for number, model in enumerate(models):
        if isinstance(model, dict) and isinstance(model.get("fit"), bool):
            now = _fit(model["fit"])
            was = str(model["fit"]).lower()
            warnings.append(
                f'{place(("model", number, "fit"))}: fit = {was} is now written fit = "{now}"; '
                "the next release refuses it"
            )
    return {**data, "model": [_with_fit(model) for model in models]}, warnings


def migrated_written(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what relayd wrote itself, of whichever layout, in the present one but for its number."""
    rest = {key: value for key, value in data.items() if key != "schema"}
    models = data.get("model")
    if data.get("schema", 1) >= WRITTEN or not isinstance(models, list):
        return rest
    return rest | {"model": [written_model(model) for model in models]}


def written_model(model: Any) -> Any:
    """Return a model of layout 1 with its placement typed; flags that no placement was written as stay."""
    if not isinstance(model, dict) or not isinstance(args := model.get("args"), list):
        return _with_fit(model)
    placement, rest = _placement(args)
    found = {key: value for key, value in model.items() if key != "args"}
    if rest:
        found["args"] = rest
    return _with_fit(found | ({"placement": placement} if placement else {}))


def _with_fit(model: Any) -> Any:
    if isinstance(model, dict) and isinstance(model.get("fit"), bool):
        return model | {"fit": _fit(model["fit"])}
    return model


def _fit(old: bool) -> str:
    return "engine" if old else "plan"


def _placement(args: Sequence[Any]) -> tuple[dict[str, Any], list[Any]]:
    """Split flags into the placement they say and the rest."""
    found: dict[str, Any] = {}
    rest, at = [], 0
    while at < len(args):
        flag, value = args[at], args[at + 1] if at + 1 < len(args) else None
        known = _setting(flag, value)
        if flag in _SWITCHES:
            found["unified"] = _SWITCHES[flag]
            at += 1
        elif known is None:
            rest.append(flag)
            at += 1
        else:
            found |= known
            at += 2
    return found, rest


def _setting(flag: Any, value: Any) -> dict[str, Any] | None:
    """Return what one flag with its value sets; None if it sets nothing of a placement."""
    if not isinstance(flag, str) or not isinstance(value, str):
        return None
    if flag in _TEXT:
        return {_TEXT[flag]: value}
    if flag in _NUMBERS and value.isdecimal():
        return {_NUMBERS[flag]: int(value)}
    match flag, value:
        case "--device", _:
            return {"devices": [] if value == "none" else value.split(",")}
        case "--tensor-split", _ if all(map(_NUMBER.fullmatch, value.split(","))):
            return {"shares": [float(share) for share in value.split(",")]}
        case "--split-mode", "layer":
            return {}
        case "--flash-attn", "on" | "off":
            return {"flash_attention": value == "on"}
    return None
