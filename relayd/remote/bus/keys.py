"""Makes the key pair of a machine on the bus (Ed25519, in NATS' form)."""

import os

import nkeys

from relayd.remote.bus.credentials import BusCredentials
from relayd.remote.bus.subjects import BusRole, check_bus_name

_SEED_BYTES = 32


def make_credentials(role: BusRole, name: str, ca: str = "") -> BusCredentials:
    """Return new credentials.

    Raises:
        UsageError: The name cannot be a part of a subject.
    """
    check_bus_name(name)
    seed = bytes(nkeys.encode_seed(os.urandom(_SEED_BYTES), nkeys.PREFIX_BYTE_USER))
    key = nkeys.from_seed(bytearray(seed)).public_key
    return BusCredentials(role, name, bytes(key).decode(), seed.decode(), ca)
