"""Was a head like this let in before (cache of admissions)?

Clients send the same head again and again; only the length of the body differs. What was judged once
is not judged again: the same bytes, at the same local address, by the same door. Refusals are not
kept, and a key that is no longer known is asked for again.
"""

import re

import msgspec
from msgspec.structs import replace

from relayd.api.admission import Admitted, RequestContext, StraightHandler
from relayd.api.answer import new_id
from relayd.api.head import RequestHead
from relayd.api.keys import KnownKeys

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,15})(?=\r\n|\Z)")
_KEPT = 1024
_LONGEST = 4096


class KnownHead(msgspec.Struct, frozen=True):
    """A head that was let in.

    Attributes:
        head: As it was parsed; its length is that of an earlier request.
        admitted: To what; its id is that of an earlier request.
        names_itself: The head sets the request's id.
        digest: Of its key; None when none was needed.
        keys: Those that were valid when it was judged; while they are, so is it.
        others: What every answer to it carries besides the request's id.
        straight: Takes the requests with it that no coroutine is needed for; None where it asks for more.
    """

    head: RequestHead
    admitted: Admitted
    names_itself: bool
    digest: bytes | None
    keys: KnownKeys
    others: tuple[tuple[str, str], ...] = ()
    straight: StraightHandler | None = None

    def name(self) -> str:
        """Return the id of another request with this head."""
        return self.admitted.context.request_id if self.names_itself else new_id()

    def again(self) -> RequestContext:
        """Return what is known of another request with this head, with fields of its own."""
        context, name = self.admitted.context, self.name()
        fields = {**context.headers, "X-Request-ID": name}
        return replace(context, request_id=name, headers=fields)


class KnownHeads:
    """Heads of requests that were let in, by their bytes."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], KnownHead] = {}
        self.find = self._known.get
        """Returns what is known of a local address and a head, given without the length of its body."""

    def __repr__(self) -> str:
        return f"<KnownHeads {len(self._known)} of {_KEPT}>"

    def add(self, arrived_at: str, bare: bytes, known: KnownHead) -> None:
        """Keep a head, given without the length of its body."""
        if len(bare) > _LONGEST:
            return
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[arrived_at, bare] = known


def without_length(raw: bytes) -> tuple[bytes, int] | None:
    """Return a head without the digits of its length, and that length; None when it declares none.

    They are taken from the beginning of a line only, so two heads without their lengths are equal only
    if everything but the value of this one field is.
    """
    found = _LENGTH.search(raw)
    if found is None:
        return None
    start, end = found.span(1)
    return raw[:start] + raw[end:], int(raw[start:end])
