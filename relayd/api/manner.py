"""How does a request ask to be scheduled, by its head (class, session)?

`X-Relayd-Class: interactive | normal | batch` decides which requests run before which. `X-Session-Id`
names the conversation that a request belongs to: a hint for the choice of its replica.
"""

import re

from relayd.api.guard import Headers
from relayd.errors import RequestError
from relayd.scheduler.ask import CLASSES, INTERACTIVE, NORMAL, rank

CLASS_HEADER = "X-Relayd-Class"
SESSION_HEADER = "X-Session-Id"

_SESSION = re.compile(r"[\x20-\x7e]{1,128}")


def asked_class(headers: Headers, *, own: str = NORMAL, best: str = INTERACTIVE) -> str:
    """Return the class of a request; one that asks for a better class than it may have gets the best it may.

    Args:
        headers: Its fields.
        own: The class of requests that ask for none.
        best: The best class that it may have.

    Raises:
        RequestError: There is no such class.
    """
    asked = headers.get(CLASS_HEADER)
    if asked is None:
        return own
    name = asked.strip().lower()
    if name not in CLASSES:
        raise RequestError(
            f"Invalid {CLASS_HEADER}: {asked[:40]!r}.", remedy=f"Use one of: {', '.join(CLASSES)}."
        )
    return max(name, best, key=rank)


def named_session(headers: Headers) -> str:
    """Return the session that a head names; empty where it names none that a log can carry."""
    session = headers.get(SESSION_HEADER, "").strip()
    return session if _SESSION.fullmatch(session) else ""
