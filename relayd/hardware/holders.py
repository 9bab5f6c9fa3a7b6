"""Which programs hold most of the RAM?"""

from collections import Counter

import psutil

from relayd.units import Bytes

_OURS = frozenset({"relayd", "llama-server"})


def largest_in_ram(count: int = 3) -> list[tuple[str, Bytes]]:
    """Return the programs that hold most of the RAM, relayd and its engine left out, with what each holds.

    What several processes of a program share counts in each of them.
    """
    found = Counter[str]()
    for process in psutil.process_iter(["name", "memory_info"]):
        held = process.info["memory_info"]
        if held is not None and (name := process.info["name"]) and name not in _OURS:
            found[name] += held.rss
    return [(name, Bytes(nbytes)) for name, nbytes in found.most_common(count)]
