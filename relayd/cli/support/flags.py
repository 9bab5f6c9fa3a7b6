"""Options and engine flags that `serve` and `run` take for the models that their line names."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from relayd.desired.arguments import Overrides
from relayd.errors import UsageError

Context = Annotated[
    int | None, typer.Option(min=0, help="Tokens of a request; 0: what the model was trained on.")
]
Slots = Annotated[int | None, typer.Option(min=1, max=256, help="Requests at once.")]
GpuLayers = Annotated[int | None, typer.Option("--gpu-layers", "-ngl", min=0, help="Layers on the devices.")]
Bus = Annotated[
    str | None, typer.Option(metavar="nats://HOST:PORT", help="Meet hubs and nodes on NATS, in large fleets.")
]
BusCredentials = Annotated[
    Path | None, typer.Option(metavar="FILE", help="What relayd bus init made for this machine.")
]
EngineFlags = Annotated[list[str] | None, typer.Option("--engine-flag", hidden=True)]

_OURS = {
    "-c": "context", "--ctx-size": "context",
    "-np": "slots", "--parallel": "slots",
    "-ngl": "gpu_layers", "--gpu-layers": "gpu_layers", "--n-gpu-layers": "gpu_layers",
}  # fmt: skip
"""Flags of llama-server that relayd plans with -> what they set."""


def overrides_of(
    context: int | None, slots: int | None, gpu_layers: int | None, flags: Iterable[str] | None
) -> Overrides:
    """Return what was typed for the models of a line.

    Flags of llama-server that relayd plans with are taken as its own options, which go before them. The
    context of llama-server is that of all slots together.

    Raises:
        UsageError: One of them has no number.
    """
    kept, typed = _split([*(flags or ())])
    if "context" in typed and "slots" in typed:
        typed["context"] //= max(1, typed["slots"])
    ours = {"context": context, "slots": slots, "gpu_layers": gpu_layers}
    return Overrides(
        **{name: typed.get(name) if value is None else value for name, value in ours.items()}, flags=kept
    )


def _split(flags: Sequence[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the flags that are the engine's alone, and what the others set."""
    kept, typed, left = list[str](), dict[str, int](), iter(flags)
    for flag in left:
        name, equals, value = flag.partition("=")
        if (setting := _OURS.get(name.replace("_", "-"))) is None:
            kept.append(flag)
            continue
        number = value if equals else next(left, "")
        if not number.isdecimal():
            raise UsageError(f"{name} {number!r} is not a number", remedy=f"Write {name} 4096, for example.")
        typed[setting] = int(number)
    return tuple(kept), typed
