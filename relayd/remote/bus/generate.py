"""Which files let hubs and nodes meet on NATS: its server's configuration, and a key for each machine?"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from relayd.errors import StateError, UsageError
from relayd.files import write_atomic
from relayd.remote.bus.credentials import read_credentials
from relayd.remote.bus.keys import make_credentials
from relayd.remote.bus.serverconfig import BusTls, server_config
from relayd.remote.bus.subjects import BusRole

CONFIG = "nats.conf"

PLAIN = "Without --tls-cert and --tls-key, prompts and answers cross the network as they are."


class MadeBus(msgspec.Struct, frozen=True):
    """What was made.

    Attributes:
        config: Of nats-server.
        made: Machines that got a key now.
        members: Every machine that is let in.
        warning: What is to be known of it; empty for nothing.
    """

    config: Path
    made: tuple[str, ...]
    members: tuple[str, ...]
    warning: str


def make_bus(
    folder: Path,
    hubs: Sequence[str],
    nodes: Sequence[str],
    listen: str,
    tls: BusTls | None = None,
    tls_ca: Path | None = None,
) -> MadeBus:
    """Write the configuration, and a key for each machine that has none yet.

    Raises:
        ConfigError: A file of a machine cannot be read.
        StateError: The folder cannot be written.
        UsageError: No machine is named, or a name cannot be a part of a subject.
    """
    known = {one.name: one for one in map(read_credentials, sorted(folder.glob("*.json")))}
    ca = _text_of(tls_ca) if tls_ca is not None else ""
    wanted = [*((BusRole.HUB, name) for name in hubs), *((BusRole.NODE, name) for name in nodes)]
    made = {name: make_credentials(role, name, ca) for role, name in wanted if name not in known}
    for role, name in wanted:
        if (known.get(name) or made[name]).role is not role:
            raise UsageError(f"{name} is a {(known.get(name) or made[name]).role.value} already")
    if not (members := {**known, **made}):
        raise UsageError("no machine is named", remedy="Name them: --hub main --node box1 --node box2.")
    config = folder / CONFIG
    text = server_config(members.values(), listen, tls)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, one in made.items():
            write_atomic(folder / f"{name}.json", msgspec.json.encode(one))
        write_atomic(config, text.encode(), mode=0o644)
    except OSError as error:
        raise StateError(f"{folder} cannot be written: {error.strerror}") from error
    return MadeBus(config, tuple(made), tuple(members), "" if tls is not None else PLAIN)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
