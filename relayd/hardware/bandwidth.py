"""Memory bandwidth of devices by their maker's specification.

Published tables often confuse cards whose names begin alike. Here the words of a name must stand
side by side, the longest match wins, and a name that goes on with a word that makes it another product
(`Ti`, `Laptop`) is unknown rather than wrong. Corrected against the specifications: RTX 5060 (448, not
256), RX 9070 and 9070 XT (640, not 488 and 624), H100 SXM (3350; NVML calls it "H100 80GB HBM3", without
"SXM"), A100 SXM of 40 GB (1555, not 2039), V100 (900, not 897), M3 Ultra (819, not 800), and an M4 Ultra
that was never made.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TypeVar

from relayd.hardware.machine import Bandwidth, Device, Machine

_Row = TypeVar("_Row")

SPECIFICATIONS: Mapping[str, str] = {
    "NVIDIA, GeForce specifications": """
1792 rtx 5090; 960 rtx 5080; 896 rtx 5070 ti; 672 rtx 5070; 448 rtx 5060 ti; 448 rtx 5060; 320 rtx 5050
1008 rtx 4090; 1008 rtx 4090 d; 736 rtx 4080 super; 717 rtx 4080; 672 rtx 4070 ti super; 504 rtx 4070 ti
504 rtx 4070 super; 504 rtx 4070; 288 rtx 4060 ti; 272 rtx 4060
1008 rtx 3090 ti; 936 rtx 3090; 912 rtx 3080 ti; 760 rtx 3080; 608 rtx 3070 ti; 448 rtx 3070
448 rtx 3060 ti; 360 rtx 3060; 224 rtx 3050
616 rtx 2080 ti; 496 rtx 2080 super; 448 rtx 2080; 448 rtx 2070 super; 448 rtx 2070; 448 rtx 2060 super
336 rtx 2060; 288 gtx 1660 ti; 336 gtx 1660 super; 192 gtx 1660; 192 gtx 1650 super; 128 gtx 1650
484 gtx 1080 ti; 320 gtx 1080; 256 gtx 1070 ti; 256 gtx 1070; 192 gtx 1060; 112 gtx 1050 ti""",
    "NVIDIA, GeForce laptop specifications": """
896 rtx 5090 laptop; 896 rtx 5080 laptop; 672 rtx 5070 ti laptop; 384 rtx 5070 laptop
576 rtx 4090 laptop; 432 rtx 4080 laptop; 256 rtx 4070 laptop; 256 rtx 4060 laptop
512 rtx 3080 ti laptop; 448 rtx 3080 laptop; 448 rtx 3070 laptop; 336 rtx 3060 laptop""",
    "NVIDIA, data center and workstation datasheets": """
8000 b200; 4800 h200; 3350 h100 sxm; 3350 h100 80gb hbm3; 3938 h100 nvl; 2000 h100 pcie; 2000 h100
2039 a100 sxm4 80gb; 1555 a100 sxm4 40gb; 1935 a100 80gb pcie; 1935 a100 pcie 80gb; 1555 a100 pcie 40gb
2039 a100 80gb sxm; 1935 a100 80gb; 1555 a100
864 l40s; 864 l40; 300 l4; 600 a10g; 600 a10; 696 a40; 933 a30; 320 t4
900 v100 sxm2; 900 v100 sxm3; 900 v100 pcie; 900 v100
346 p40; 732 p100; 549 p100 pcie 12gb; 288 m40
1792 rtx pro 6000 blackwell; 1597 rtx pro 6000 blackwell server; 1344 rtx pro 5000 blackwell
960 rtx 6000 ada; 960 rtx 5880 ada; 576 rtx 5000 ada; 432 rtx 4500 ada; 360 rtx 4000 ada; 224 rtx 2000 ada
768 rtx a6000; 768 rtx a5000; 640 rtx a4500; 448 rtx a4000; 288 rtx a2000
672 quadro rtx 8000; 672 quadro rtx 6000; 448 quadro rtx 5000; 416 quadro rtx 4000""",
    "NVIDIA, DGX Spark and Jetson specifications": """
273 gb10; 273 dgx spark; 273 thor; 204.8 jetson agx orin; 102.4 jetson orin nx; 102.4 jetson orin nano super
102.4 jetson orin nano engineering reference developer kit super; 68 jetson orin nano
136.5 jetson agx xavier""",
    "AMD, Radeon and Ryzen specifications": """
640 rx 9070 xt; 640 rx 9070; 432 rx 9070 gre; 320 rx 9060 xt; 640 r9700
960 rx 7900 xtx; 800 rx 7900 xt; 576 rx 7900 gre; 624 rx 7800 xt; 432 rx 7700 xt; 288 rx 7600 xt; 288 rx 7600
576 rx 6950 xt; 512 rx 6900 xt; 512 rx 6800 xt; 512 rx 6800; 432 rx 6750 xt; 384 rx 6700 xt; 256 rx 6600 xt
224 rx 6600; 864 w7900; 576 w7800; 256 8060s; 256 8050s
256 strix halo; 256 ryzen ai max; 256 ryzen ai max pro""",
    "AMD, Instinct datasheets": """
6000 mi325x; 5300 mi300x; 5300 mi300a; 5300 mi300; 3277 mi250x; 3277 mi250; 1638 mi210; 1229 mi100; 1024 mi60
1024 mi50""",
    "Intel, Arc specifications": """
560 arc a770; 512 arc a750; 186 arc a380; 456 arc b580; 380 arc b570; 456 arc pro b60; 224 arc pro b50""",
    "Apple, technical specifications": """
614 apple m5 max; 307 apple m5 pro; 153.6 apple m5
546 apple m4 max; 410 apple m4 max 14; 273 apple m4 pro; 120 apple m4
819 apple m3 ultra; 400 apple m3 max; 300 apple m3 max 14; 150 apple m3 pro; 100 apple m3
800 apple m2 ultra; 400 apple m2 max; 200 apple m2 pro; 100 apple m2
800 apple m1 ultra; 400 apple m1 max; 200 apple m1 pro; 68.25 apple m1""",
    "channels x megatransfers a second x 8 bytes (JEDEC)": """
51.2 2ch ddr4 3200; 102.4 4ch ddr4 3200; 204.8 8ch ddr4 3200; 89.6 2ch ddr5 5600; 102.4 2ch ddr5 6400
307.2 8ch ddr5 4800; 460.8 12ch ddr5 4800; 576 12ch ddr5 6000""",
}
"""Source → its rows, `GB/s name`.

A family name alone (`H100`) means its slowest. A number after an Apple name counts CPU cores, by which
the chips differ.
"""

OTHER_PRODUCT = frozenset({
    "ti", "super", "xt", "xtx", "gre", "laptop", "mobile", "max", "with", "pro", "ultra", "d", "m", "sff",
    "ada", "blackwell", "nvl",
})  # fmt: skip
"""Words that, after a name, make it the name of something else; `with` begins "with Max-Q Design"."""


def look_up(name: str) -> Bandwidth | None:
    """Return the peak bandwidth of a device or CPU by its name; None for one that is not in the table."""
    return matched(name, _table())


def matched(name: str, table: Mapping[tuple[str, ...], _Row]) -> _Row | None:
    """Return the row of a table by the name of a device; None for one that the table does not know.

    Args:
        name: What a driver calls it.
        table: The words of each name, side by side, and its row.
    """
    parts = words(name)
    spans = ((start, end) for start in range(len(parts)) for end in range(start + 1, len(parts) + 1))
    known = [span for span in spans if parts[slice(*span)] in table]
    if not known:
        return None
    start, end = max(known, key=lambda span: span[1] - span[0])
    return None if OTHER_PRODUCT & {*parts[end : end + 1]} else table[parts[start:end]]


def catalogued(machine: Machine) -> Machine:
    """Return the machine with the bandwidth of every device that has none yet, as far as it is known.

    A device that computes in RAM reads no faster than RAM.
    """
    cpu = f"{machine.cpu.model} {machine.cpu.physical_cores}"
    ram = machine.ram_bandwidth or look_up(cpu)
    gpus = tuple(replace(gpu, bandwidth=_of(gpu, machine.cpu.physical_cores, ram)) for gpu in machine.gpus)
    return replace(machine, gpus=gpus, ram_bandwidth=ram)


def _of(gpu: Device, cores: int, ram: Bandwidth | None) -> Bandwidth | None:
    known = gpu.bandwidth or look_up(f"{gpu.name} {cores}" if gpu.unified else gpu.name)
    return known or (ram if gpu.unified else None)


def words(name: str) -> tuple[str, ...]:
    """Return the words of a device name, in small letters, without marks."""
    return tuple(re.findall(r"[a-z0-9]+", re.sub(r"\((?:r|tm|c)\)", " ", name.lower())))


@cache
def _table() -> Mapping[tuple[str, ...], Bandwidth]:
    rows: dict[tuple[str, ...], Bandwidth] = {}
    for source, text in SPECIFICATIONS.items():
        for row in re.split(r"[;\n]", text.strip()):
            number, _, name = row.strip().partition(" ")
            rows[words(name)] = Bandwidth(float(number), "catalogue", source)
    return rows
