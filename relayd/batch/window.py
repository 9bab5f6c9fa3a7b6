"""How long may a batch take, as its owner writes it (`completion_window`)?"""

import re

from relayd.errors import RequestError

_WINDOW = re.compile(r"(\d{1,6})\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

LONGEST_SECONDS = 366 * 86_400

DEFAULT = "24h"


def window_seconds(text: str) -> int:
    """Return how many seconds a window has.

    Raises:
        RequestError: It is not one.
    """
    found = _WINDOW.fullmatch(text.strip())
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_SECONDS:
        raise RequestError(
            f"Invalid completion_window: {text[:40]!r}.",
            remedy="Write a number with s, m, h or d, like 24h; at most 366d.",
            param="completion_window",
        )
    return seconds
