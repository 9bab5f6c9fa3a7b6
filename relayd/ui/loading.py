"""How does the load of a model look while it is under way?"""

from relayd.units import show_bytes, show_seconds

_CELLS = 20


def loading_line(name: str, done: int, total: int, seconds: float, columns: int) -> str:
    """Return `loading qwen3-8b  ########----  62 %  2.9 of 4.7 GiB, 4 s`, at most so many columns wide.

    Args:
        name: The model or replica.
        done: Bytes that are in memory.
        total: Bytes of its files; 0 where that is not known.
        seconds: How long it has taken so far.
        columns: Width of the terminal.
    """
    share = min(1.0, done / total) if total else 0.0
    cells = round(share * _CELLS)
    sizes = f"{show_bytes(min(done, total))} of {show_bytes(total)}, " if total else ""
    after = f"{share:4.0%}  {sizes}{show_seconds(seconds)}" if total else show_seconds(seconds)
    bar = f"{'█' * cells}{'░' * (_CELLS - cells)} " if total else ""
    for line in (f"loading {name}  {bar}{after}", f"loading {name}  {after}", after):
        if len(line) < columns:
            return line
    return after[: max(0, columns - 1)]
