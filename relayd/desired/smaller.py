"""Which smaller plan a replica that did not fit is tried with next, from what its model's files say."""

import re
from pathlib import Path

from relayd.engine.commandline import fixed_by
from relayd.errors import ModelFileError
from relayd.gguf import read_metadata
from relayd.planner import Facts, Planned, Step, step_down

_QUANTIZATION = re.compile(r"[-_.](?:ud-)?(?:i?q\d\w*|tq\d\w*|bf16|f16|f32|mxfp4\w*|nvfp4)$")
"""The quantization at the end of a file name."""


def smaller(planned: Planned, rung: int, *, host: bool) -> Step | None:
    """Return the next plan to try when memory is too small for one; None when nothing is left.

    Args:
        planned: What did not fit.
        rung: Where on the ladder to go on (`planner.smaller`).
        host: Whether it was RAM that ran out, and not a device's memory.
    """
    spec = planned.spec
    try:
        metadata = read_metadata(spec.file)
        facts = Facts(
            metadata.whole("context_length"),
            metadata.whole("block_count"),
            has_experts=f"{metadata.architecture}.expert_count" in metadata.values,
            smaller_files=_smaller_files(spec.file),
            fixed=fixed_by(spec.extra_args),
        )
    except ModelFileError:
        return None
    return step_down(planned, facts, rung, host=host)


def _smaller_files(file: Path) -> list[Path]:
    """Return the same model in smaller quantizations beside `file`, by name, the largest first."""
    base = _without_quantization(file)
    others = [other for other in file.parent.glob("*.gguf") if _without_quantization(other) == base]
    sizes = {other: other.stat().st_size for other in others}
    fitting = [other for other in sizes if sizes[other] < file.stat().st_size]
    return sorted(fitting, key=sizes.__getitem__, reverse=True)


def _without_quantization(file: Path) -> str:
    return _QUANTIZATION.sub("", file.stem.casefold())
