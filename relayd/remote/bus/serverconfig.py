"""What does nats-server need to know: its configuration, made of the machines that may use it (text)?"""

import json
from collections.abc import Iterable
from pathlib import Path

import msgspec

from relayd.remote.bus.credentials import BusCredentials
from relayd.remote.bus.subjects import permissions

_HEADER = """\
# For nats-server 2.9 or newer, written by `relayd bus init`; it is written anew whenever that runs again.
# Only public keys are in here. Start it with: nats-server -c THIS-FILE
"""


class BusTls(msgspec.Struct, frozen=True):
    """With what the server encrypts connections: paths on its machine."""

    cert: Path
    key: Path


def server_config(members: Iterable[BusCredentials], listen: str, tls: BusTls | None = None) -> str:
    """Return a configuration by which each machine reaches its own subjects, and no other's.

    Args:
        members: Who may connect.
        listen: HOST:PORT.
        tls: None is without encryption.
    """
    lines = [_HEADER, f"listen: {json.dumps(listen)}", "max_payload: 1048576"]
    if tls is not None:
        lines.append(
            f"tls {{ cert_file: {json.dumps(str(tls.cert))}, key_file: {json.dumps(str(tls.key))} }}"
        )
    lines.append("authorization {\n  users: [")
    for one in sorted(members, key=lambda one: (one.role.value, one.name)):
        allowed = permissions(one.role, one.name)
        lines.append(
            f"    # {one.role.value} {one.name}\n"
            f"    {{ nkey: {one.key}, permissions: {{\n"
            f"      publish: {{ allow: {json.dumps(allowed.publish)} }}\n"
            f"      subscribe: {{ allow: {json.dumps(allowed.subscribe)} }}\n"
            "    } }"
        )
    return "\n".join((*lines, "  ]\n}\n"))
