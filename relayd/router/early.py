"""What goes out to a stream's client before its answer has begun (early head, comments)?

A comment of the event stream, which clients skip (WHATWG HTML, "Server-sent events"). The head of the answer
goes out with the first one, so what is refused later is an event of the stream. While only comments were sent
the request can still run on any replica.
"""

from collections.abc import Mapping

from relayd.router.dialect import Dialect
from relayd.router.headers import OWN_FIELDS
from relayd.router.recipient import Fields, Recipient

EVENT_STREAM = "text/event-stream"

Answering = tuple[Recipient, Dialect, Mapping[str, str]]
"""Who waits for an answer, how it is written, and what its head must carry besides."""


def takes_comments(client: Recipient, dialect: Dialect) -> bool:
    """Return whether a stream to this client is one of events, whose readers skip comments."""
    if not client.splices:
        return False
    translation = dialect.translation(stream=True)
    return translation is None or translation.media_type.startswith(EVENT_STREAM)


def write_comment(answering: Answering, request_id: str, text: bytes) -> bool:
    """Write a comment, behind the head of the answer if that is not out yet.

    Args:
        answering: Who waits for the answer.
        request_id: Id of the request.
        text: What follows the colon, without line ends.

    Returns:
        Whether the client has enough for now.
    """
    client, _, headers = answering
    if not client.sent_bytes:
        fields = {
            **OWN_FIELDS,
            **headers,
            "X-Request-ID": request_id,
            "Content-Type": EVENT_STREAM,
            "Cache-Control": "no-cache",
        }
        client.begin(200, fields.items(), framed=False)
    return client.write(b": %b\n\n" % text)


class BegunClient:
    """A client that has the head of its answer already.

    Args:
        client: The connection.
    """

    splices = False

    def __init__(self, client: Recipient) -> None:
        self._client = client
        self.write = client.write
        self.room = client.room
        self.end = client.end
        self.close = client.close
        self.abort = client.abort

    def __repr__(self) -> str:
        return f"<BegunClient sent={self.sent_bytes}>"

    @property
    def is_gone(self) -> bool:
        """Whether nothing can be written to it any more."""
        return self._client.is_gone

    @property
    def sent_bytes(self) -> int:
        """Bytes of the answer that were written, comments included."""
        return self._client.sent_bytes

    def begin(self, status: int, fields: Fields, *, framed: bool) -> None:
        """Change nothing: the head is out."""
