"""How does a request ask to be scheduled, by its head (class, session)?

`X-Relayd-Class: interactive | normal | batch` decides which requests run before which. `X-Session-Id`
names the conversation that a request belongs to: a hint for the choice of its replica.
"""

import re

from relayd.api.admission import RequestContext
from relayd.api.guard import Headers
from relayd.errors import RequestError
from relayd.router import Call, Fingerprint
from relayd.scheduler.ask import CLASSES, INTERACTIVE, NORMAL, Ask, rank

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


def make_ask(
    slot: tuple[str, int, float | None], call: Call, context: RequestContext, peer: str, found: Fingerprint
) -> Ask:
    """Return what a request asks of the scheduler.

    Args:
        slot: The model, how many of its slots, and until when that may be waited for (monotonic seconds).
        call: What a replica gets.
        context: What is known of the request.
        peer: The client's address.
        found: What the prompt looks like.
    """
    model, width, deadline = slot
    key, named, kept = context.grant.id, context.session, context.grant.rights.retain
    return Ask(  # by position, as a name for each costs as much as the value
        model, width, key, context.klass, found.chain, deadline, call.answers_events,
        (named or found.session) if kept else "", key or named or peer, len(call.body),
    )  # fmt: skip
