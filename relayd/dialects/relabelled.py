"""How do the figures of several replicas become one page for Prometheus (relabelling)?"""

import re
from collections.abc import Iterable, Mapping

_SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})?( .*)")


def relabelled(pages: Iterable[tuple[Mapping[str, str], str]]) -> str:
    """Return one page: each metric once, its samples with the labels of the page that each came from.

    Args:
        pages: Labels, and the text of a page; further labels of a sample stay.
    """
    about: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for labels, page in pages:
        added = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
        for line in page.splitlines():
            if line.startswith("# "):
                words = line.split(" ", 3)
                known = about.setdefault(words[2], []) if len(words) > 3 else []
                if line not in known:
                    known.append(line)
            elif found := _SAMPLE.fullmatch(line):
                own = f"{added},{found[2]}" if found[2] else added
                samples.setdefault(found[1], []).append(f"{found[1]}{{{own}}}{found[3]}")
    lines = [line for name, values in samples.items() for line in (*about.get(name, ()), *values)]
    return "\n".join(lines) + "\n" if lines else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
