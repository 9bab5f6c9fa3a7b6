"""The demo model that ships with relayd."""

from importlib.resources import files

from relayd.config import Model

DEMO = "demo"
"""What clients call the demo model."""


def demo_model() -> Model:
    """Return the demo model; a token of it is a character, hence the context."""
    file = str(files("relayd") / "demo.gguf")
    return Model(name=DEMO, file=file, context=16384, embeddings=True, cache_ram_mib=64)


def is_demo(file: str) -> bool:
    """Return whether a model file is the demo model."""
    return file == demo_model().file
