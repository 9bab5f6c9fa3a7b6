"""Which part of a list does a request ask for (cursors)?"""

from urllib.parse import parse_qsl

import msgspec

from relayd.errors import RequestError


class ListQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """The query of a list.

    Attributes:
        after: The id behind which it begins.
        before: The id in front of which it ends.
        limit: How many at most.
        order: Newest first (`desc`), or oldest first (`asc`).
        purpose: Only files of this purpose.
    """

    after: str | None = None
    before: str | None = None
    limit: int = 20
    order: str = "desc"
    purpose: str | None = None


def list_query(
    raw_path: str, *, after: str = "after", before: str = "before", most: int = 100, usual: int = 20
) -> ListQuery:
    """Return the query of a target.

    Args:
        raw_path: The target.
        after: What its member is called behind which the list begins.
        before: Likewise, in front of which it ends.
        most: The largest limit.
        usual: The limit where none is given.

    Raises:
        RequestError: A member is not valid.
    """
    given = dict(parse_qsl(raw_path.partition("?")[2][:4096], max_num_fields=32))
    limit = given.get("limit", str(usual))
    if not limit.isdecimal() or not 1 <= int(limit[:9]) <= most:
        raise RequestError(f"limit is 1 to {most}, not {limit[:20]!r}.", param="limit")
    order = given.get("order", "desc")
    if order not in ("asc", "desc"):
        raise RequestError(f"order is asc or desc, not {order[:20]!r}.", param="order")
    return ListQuery(given.get(after), given.get(before), int(limit), order, given.get("purpose"))
