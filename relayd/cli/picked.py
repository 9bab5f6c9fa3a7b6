"""What did `relayd serve` choose by itself, and what of it still runs?

What runs holds memory that a new choice would count as taken, so it stays: over a reload, an
upgrade and the death of a daemon.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from relayd.config import Model

_FILE = "picked.json"


def remember(runtime: "Path", models: "tuple[Model, ...]") -> None:
    """Write down what was chosen.

    Raises:
        StateError: The folder cannot be written.
    """
    import msgspec

    from relayd.files import write_atomic

    write_atomic(runtime / _FILE, msgspec.json.encode(models))


def still_running(runtime: "Path") -> "tuple[Model, ...]":
    """Return what was chosen and has a living replica."""
    import msgspec

    from relayd.config import Model
    from relayd.config.migrate import written_model
    from relayd.lock import is_held
    from relayd.supervisor.child import Files

    try:
        noted = msgspec.json.decode((runtime / _FILE).read_bytes(), type=list[dict[str, Any]])
        chosen = msgspec.convert([written_model(one) for one in noted], tuple[Model, ...])
        return tuple(one for one in chosen if is_held(Files.of(runtime, f"{one.name}#0").lock))
    except (OSError, msgspec.DecodeError):
        return ()
