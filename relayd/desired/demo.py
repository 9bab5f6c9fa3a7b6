"""The demo model that ships with relayd."""

from importlib.resources import files

from relayd.config import Model
from relayd.config.schema import Allocation

DEMO = "demo"
"""What clients call the demo model."""

SHORT_INPUTS = Allocation(batch=2048, micro_batch=2048)
"""A pass of its whole context would take half a gigabyte."""


def demo_model() -> Model:
    """Return the demo model; a token of it is a character, hence the context."""
    file = str(files("relayd") / "demo.gguf")
    return Model(
        name=DEMO, file=file, context=16384, embeddings=True, cache_ram_mib=64, placement=SHORT_INPUTS
    )


def is_demo(file: str) -> bool:
    """Return whether a model file is the demo model."""
    return file == demo_model().file
