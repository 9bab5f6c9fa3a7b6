"""By what does NATS know this machine: the file that `relayd bus init` makes for each hub and node."""

from pathlib import Path

import msgspec

from relayd.errors import ConfigError
from relayd.remote.bus.subjects import BusRole

_MOST_BYTES = 64 * 1024


class BusCredentials(msgspec.Struct, frozen=True):
    """One machine on the bus.

    Attributes:
        role: Hub or node.
        name: Of the machine; a part of every subject that it uses.
        key: The public key, which the server has.
        seed: The private one.
        ca: Certificates (PEM) that the server's has to come from; empty takes those of this system.
    """

    role: BusRole
    name: str
    key: str
    seed: str
    ca: str = ""

    def __repr__(self) -> str:
        return f"BusCredentials({self.role.value} {self.name})"


def read_credentials(path: Path) -> BusCredentials:
    """Return what a file holds.

    Raises:
        ConfigError: It cannot be read, is readable by others, or is malformed.
    """
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            raw = file.read(_MOST_BYTES)
    except OSError as error:
        raise ConfigError(
            f"the credentials for the bus cannot be read: {path}: {error.strerror}",
            remedy="`relayd bus init` makes them; give their path with --bus-credentials.",
        ) from error
    if mode & 0o077:
        raise ConfigError(
            f"the credentials for the bus can be read by others: {path}",
            remedy=f"Keep it private: chmod 600 {path}.",
        )
    try:
        return msgspec.json.decode(raw, type=BusCredentials)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{path} holds no credentials for the bus: {error}", remedy="`relayd bus init` makes them."
        ) from error
