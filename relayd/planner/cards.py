"""How much memory a device is sold with, for machines that are described by its name alone."""

import re
from collections.abc import Mapping
from functools import cache

SOLD: Mapping[str, str] = {
    "NVIDIA, GeForce specifications": """
32 rtx 5090; 16 rtx 5080; 16 rtx 5070 ti; 12 rtx 5070; 16 rtx 5060 ti; 8 rtx 5060; 8 rtx 5050
24 rtx 4090; 24 rtx 4090 d; 16 rtx 4080 super; 16 rtx 4080; 16 rtx 4070 ti super; 12 rtx 4070 ti
12 rtx 4070 super; 12 rtx 4070; 8 rtx 4060 ti; 8 rtx 4060
24 rtx 3090 ti; 24 rtx 3090; 12 rtx 3080 ti; 10 rtx 3080; 8 rtx 3070 ti; 8 rtx 3070; 8 rtx 3060 ti
12 rtx 3060; 8 rtx 3050; 11 rtx 2080 ti; 8 rtx 2080 super; 8 rtx 2080; 8 rtx 2070 super; 8 rtx 2070
8 rtx 2060 super; 6 rtx 2060; 6 gtx 1660 ti; 6 gtx 1660 super; 6 gtx 1660; 4 gtx 1650 super; 4 gtx 1650
11 gtx 1080 ti; 8 gtx 1080; 8 gtx 1070 ti; 8 gtx 1070; 6 gtx 1060; 4 gtx 1050 ti
24 rtx 5090 laptop; 16 rtx 5080 laptop; 12 rtx 5070 ti laptop; 8 rtx 5070 laptop; 16 rtx 4090 laptop
12 rtx 4080 laptop; 8 rtx 4070 laptop; 8 rtx 4060 laptop; 16 rtx 3080 ti laptop; 8 rtx 3080 laptop
8 rtx 3070 laptop; 6 rtx 3060 laptop""",
    "NVIDIA, data center and workstation datasheets": """
180 b200; 141 h200; 80 h100; 80 h100 sxm; 94 h100 nvl; 80 h100 pcie; 80 a100
48 l40s; 48 l40; 24 l4; 24 a10g; 24 a10; 48 a40; 24 a30; 16 t4; 32 v100; 24 p40; 16 p100; 24 m40
96 rtx pro 6000 blackwell; 48 rtx pro 5000 blackwell
48 rtx 6000 ada; 48 rtx 5880 ada; 32 rtx 5000 ada; 24 rtx 4500 ada; 20 rtx 4000 ada; 16 rtx 2000 ada
48 rtx a6000; 24 rtx a5000; 20 rtx a4500; 16 rtx a4000; 12 rtx a2000
48 quadro rtx 8000; 24 quadro rtx 6000; 16 quadro rtx 5000; 8 quadro rtx 4000""",
    "AMD, Radeon and Instinct specifications": """
16 rx 9070 xt; 16 rx 9070; 12 rx 9070 gre; 16 rx 9060 xt; 32 r9700
24 rx 7900 xtx; 20 rx 7900 xt; 16 rx 7900 gre; 16 rx 7800 xt; 12 rx 7700 xt; 16 rx 7600 xt; 8 rx 7600
16 rx 6950 xt; 16 rx 6900 xt; 16 rx 6800 xt; 16 rx 6800; 12 rx 6750 xt; 12 rx 6700 xt; 8 rx 6600 xt
8 rx 6600; 48 w7900; 32 w7800; 256 mi325x; 192 mi300x; 128 mi300a; 128 mi300; 128 mi250x; 128 mi250
64 mi210; 32 mi100; 32 mi60; 16 mi50""",
    "Intel, Arc specifications": """
16 arc a770; 8 arc a750; 6 arc a380; 12 arc b580; 10 arc b570; 24 arc pro b60; 16 arc pro b50""",
}
"""Source → its rows, `GiB name`. Of a card that is sold with two sizes it is the usual one."""

MOST_TIMES = 4
"""Times that memory of which a card is known to be rebuilt at most (two on one board, larger chips)."""


def sold_with(name: str) -> float | None:
    """Return the GiB that a device of a name is sold with; None where the name is in no table.

    Args:
        name: As its maker writes it, or a part of that.
    """
    words = name.casefold().split()
    found = [(len(known), gib) for known, gib in _table() if _stand_in(words, known)]
    return max(found)[1] if found else None


@cache
def _table() -> tuple[tuple[list[str], float], ...]:
    rows = (row.split() for text in SOLD.values() for row in re.split(r"[;\n]", text.strip()))
    return tuple((name, float(gib)) for gib, *name in rows)


def _stand_in(words: list[str], known: list[str]) -> bool:
    """Return whether the words of a name stand side by side among others."""
    return any(words[at : at + len(known)] == known for at in range(len(words)))
