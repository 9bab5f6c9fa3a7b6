"""What a guided start had chosen when it ended before its model was there, so that the next one goes on."""

from contextlib import suppress
from pathlib import Path

import msgspec

from relayd.errors import StateError
from relayd.files import write_atomic

LAYOUT = 1
FILE_NAME = "init.json"
_MOST_BYTES = 1 << 16


class Chosen(msgspec.Struct, frozen=True):
    """A choice of `relayd init`.

    Attributes:
        use: What the model is for.
        model: Its name, with its quantization.
        layout: Of this file.
    """

    use: str
    model: str
    layout: int = LAYOUT


def read_choice(state: Path) -> Chosen | None:
    """Return what was chosen last; None where nothing was, or nothing is left to do."""
    with suppress(OSError, msgspec.MsgspecError), (state / FILE_NAME).open("rb") as file:
        found = msgspec.json.decode(file.read(_MOST_BYTES), type=Chosen)
        return found if found.layout == LAYOUT else None
    return None


def keep_choice(state: Path, chosen: Chosen) -> None:
    """Remember a choice; in a folder that cannot be written, nothing is remembered."""
    with suppress(OSError, StateError):
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(state / FILE_NAME, msgspec.json.encode(chosen))


def forget_choice(state: Path) -> None:
    """Forget it: its model is here."""
    with suppress(OSError):
        (state / FILE_NAME).unlink(missing_ok=True)
