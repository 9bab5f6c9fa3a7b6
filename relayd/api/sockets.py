"""Which options has the socket of a client's connection?"""

import socket

from relayd.units import KIB

_MOST_UNSENT = 128 * KIB
"""Bytes that the system takes before the client can be sent them; by default that grows to 4 MiB, which a
replica would have written for a client that reads nothing."""

_TCP = (socket.AF_INET, socket.AF_INET6)


def set_options(opened: socket.socket) -> None:
    """Have a client probed that is silent for long, and little written ahead of it."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if opened.family in _TCP and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MOST_UNSENT)
