"""What was typed after `relayd serve`: a value that commands read without what makes plans."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServeArguments:
    """What was typed after `relayd serve`; it holds over every reload.

    Attributes:
        targets: Configured models, files or models on disk; empty for all that are configured.
        demo: Whether the demo model runs.
        listen: HOST:PORT instead of the configured one.
        config: The relay.toml to use; None looks for one.
        llama_server: The engine instead of the configured one.
        insecure_bind: Whether other machines may come in without a key.
    """

    targets: tuple[str, ...] = ()
    demo: bool = False
    listen: str | None = None
    config: Path | None = None
    llama_server: str | None = None
    insecure_bind: bool = False

    @property
    def demo_alone(self) -> bool:
        """Whether the demo runs by itself, with folders of its own."""
        return self.demo and not self.targets
