"""Peak arithmetic of devices by their maker's specification: what the speed of prompts depends on.

Dense FP16 with matrix units where a device has them. NVIDIA's "AI TOPS" (sparse) are turned into it: a
quarter of FP8 on Ada, an eighth of FP4 on Blackwell. Names match as in `bandwidth`.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import cache

from relayd.hardware.bandwidth import matched, words

PEAKS: Mapping[str, str] = {
    "NVIDIA, GeForce specifications and architecture whitepapers": """
419 rtx 5090; 225 rtx 5080; 176 rtx 5070 ti; 123.5 rtx 5070; 95 rtx 5060 ti; 77 rtx 5060; 53 rtx 5050
330 rtx 4090; 294 rtx 4090 d; 209 rtx 4080 super; 195 rtx 4080; 176 rtx 4070 ti super; 160 rtx 4070 ti
142 rtx 4070 super; 116.5 rtx 4070; 88 rtx 4060 ti; 60.5 rtx 4060
160 rtx 3090 ti; 142 rtx 3090; 136 rtx 3080 ti; 119 rtx 3080; 87 rtx 3070 ti; 81 rtx 3070
65 rtx 3060 ti; 51 rtx 3060; 36 rtx 3050
107 rtx 2080 ti; 89 rtx 2080 super; 80.5 rtx 2080; 72.5 rtx 2070 super; 59.7 rtx 2070; 57.4 rtx 2060 super
51.6 rtx 2060""",
    "NVIDIA, data center and workstation datasheets": """
2250 b200; 989 h200; 989 h100 sxm; 989 h100 80gb hbm3; 835 h100 nvl; 756 h100 pcie; 756 h100; 312 a100
362 l40s; 181 l40; 121 l4; 125 a10g; 125 a10; 150 a40; 165 a30; 65 t4; 125 v100
500 rtx pro 6000 blackwell; 364 rtx 6000 ada; 364 rtx 5880 ada; 261 rtx 5000 ada; 192 rtx 4500 ada
155 rtx a6000; 111 rtx a5000; 95 rtx a4500; 77 rtx a4000; 64 rtx a2000
130 quadro rtx 8000; 130 quadro rtx 6000; 89 quadro rtx 5000
125 gb10; 125 dgx spark""",
    "AMD, Radeon, Ryzen and Instinct specifications": """
195 rx 9070 xt; 145 rx 9070; 103 rx 9060 xt; 191 r9700
122.8 rx 7900 xtx; 103 rx 7900 xt; 92 rx 7900 gre; 74.7 rx 7800 xt; 70 rx 7700 xt; 45 rx 7600 xt; 43.5 rx 7600
47 rx 6950 xt; 46 rx 6900 xt; 41.5 rx 6800 xt; 32.3 rx 6800; 26.6 rx 6750 xt; 26.4 rx 6700 xt; 21 rx 6600 xt
17.9 rx 6600; 122.6 w7900; 90.5 w7800; 59.4 8060s; 47 8050s; 59.4 strix halo; 59.4 ryzen ai max
16.6 780m; 23.8 890m
1307 mi325x; 1307 mi300x; 981 mi300a; 1307 mi300; 383 mi250x; 362 mi250; 181 mi210; 184 mi100; 29.5 mi60
26.5 mi50""",
    "Apple, GPU cores x 128 lanes x 2 x clock": """
18.4 apple m4 max; 9.3 apple m4 pro; 4.3 apple m4; 32 apple m3 ultra; 16.3 apple m3 max; 7.4 apple m3 pro
4.1 apple m3; 27 apple m2 ultra; 13.6 apple m2 max; 6.8 apple m2 pro; 3.6 apple m2
21 apple m1 ultra; 10.4 apple m1 max; 5.2 apple m1 pro; 2.6 apple m1""",
}
"""Source → its rows, `TFLOPS name`."""

PER_CORE: tuple[tuple[frozenset[str], float], ...] = (
    (frozenset({"amx_int8"}), 0.25),
    (frozenset({"avx512_vnni"}), 0.09),
    (frozenset({"avx512f"}), 0.075),
    (frozenset({"avx_vnni", "avx2"}), 0.07),
    (frozenset({"avx2"}), 0.06),
    (frozenset({"i8mm"}), 0.05),
    (frozenset({"asimddp"}), 0.035),
)
"""Instruction sets → useful TFLOPS of a prompt for each core, quantized weights.

0.09 is a Ryzen 7840HS (22 runs, 8 cores); 0.05 a CIX P1 and a Snapdragon with 12 and 8 cores, 0.035 a
Raspberry Pi 5 (github.com/geerlingguy/ai-benchmarks, issues 51, 54 and 70); 0.06 a Core i9-13900K
(github.com/ggml-org/llama.cpp issue 34). That of AMX is from no run of ours.
"""

SLOWEST_CORE = 0.02
"""The same for any other core."""


def peak_tflops(name: str) -> float | None:
    """Return the peak of a device by its name; None for one that is not in the table."""
    return matched(name, _table())


def core_tflops(flags: AbstractSet[str]) -> float:
    """Return the useful TFLOPS of a prompt for each core with these instruction sets."""
    return next((peak for needed, peak in PER_CORE if needed <= flags), SLOWEST_CORE)


@cache
def _table() -> Mapping[tuple[str, ...], float]:
    rows: dict[tuple[str, ...], float] = {}
    for text in PEAKS.values():
        for row in text.replace("\n", ";").split(";"):
            if row.strip():
                number, _, name = row.strip().partition(" ")
                rows[words(name)] = float(number)
    return rows
