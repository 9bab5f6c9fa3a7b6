"""In which order are the tools of a request, whose client writes them in another one each time (tool order)?

They stand in front of everything else in a prompt, so that another order has all of it read again. The first
order in which some tools came is the one that they keep.
"""

from collections import OrderedDict

import msgspec

from relayd.units import KIB

_MOST_BYTES = 256 * KIB
_KEPT = 32
"""Lists of tools that are remembered, with at most 8 MiB of text."""

_tools = msgspec.json.Decoder(list[msgspec.Raw])


class ToolOrder:
    """Remembers in which order tools came first."""

    def __init__(self) -> None:
        self._orders: OrderedDict[frozenset[bytes], bytes] = OrderedDict()
        self._known: OrderedDict[bytes, msgspec.Raw | None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<ToolOrder lists={len(self._orders)}>"

    def steady(self, tools: msgspec.Raw) -> msgspec.Raw | None:
        """Return tools in the order in which the same ones came first; None where that is this one."""
        text = bytes(tools)
        if text in self._known:
            return self._known[text]
        if len(text) > _MOST_BYTES:
            return None
        found = self._found(text)
        self._known[text] = found
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return found

    def _found(self, text: bytes) -> msgspec.Raw | None:
        try:
            parts = [bytes(one) for one in _tools.decode(text)]
        except msgspec.DecodeError:
            return None
        same = frozenset(parts)
        if len(same) < 2 or len(same) != len(parts):
            return None
        first = self._orders.setdefault(same, text)
        self._orders.move_to_end(same)
        if len(self._orders) > _KEPT:
            self._orders.popitem(last=False)
        return None if first == text else msgspec.Raw(first)
