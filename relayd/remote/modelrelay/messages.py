"""The messages of ModelRelay's protocol: what may be in them, and how are they read and written?

One WebSocket for each worker, which is its client; text frames, one JSON object each, tagged by `type`
(protocol `2026-04-bridge-v1`, ericflo/modelrelay f2637c7, crates/modelrelay-protocol/src/lib.rs).

    worker → server   register  models_update  response_chunk  response_complete  pong  error
    server → worker   register_ack  request  cancel  ping  graceful_shutdown  models_refresh

Members that are not known are ignored, as both of its programs do. A type that is not known is ignored
too, where those end the connection. Anything else that does not fit the types is refused.
"""

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from relayd.errors import InvalidMessageError
from relayd.units import KIB, MIB

PATH = "/v1/worker/connect"
"""Where a worker connects; `?provider=NAME` is its label."""

VERSION = "2026-04-bridge-v1"
"""What both sides name in `register` and `register_ack`; a worker may leave it out."""

SECRET_FIELD = "x-worker-secret"  # noqa: S105 - the name of a field
"""The header field with the worker's secret; `worker_secret` of the query counts where it is missing."""

LONGEST_MESSAGE = 64 * MIB
"""What the stock worker accepts at most (tungstenite's limit); an unstreamed answer is one frame."""

LONGEST_REQUEST = 15 * MIB
"""Of a request as JSON: the stock worker's limit is 16 MiB for a frame."""

MOST_HEADERS = 128

_Count = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_Milliseconds = Annotated[int, Meta(ge=0)]
_Id = Annotated[str, Meta(max_length=256)]
_Word = Annotated[str, Meta(max_length=KIB)]
_Text = Annotated[str, Meta(max_length=16 * KIB)]
_Models = Annotated[list[_Word], Meta(max_length=4096)]
_Headers = Annotated[dict[_Word, _Text], Meta(max_length=MOST_HEADERS)]


class WorkerMessage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type"):
    """One message, of either side."""


class Register(WorkerMessage, frozen=True, gc=False, omit_defaults=True, tag="register"):
    """A worker's first message.

    Attributes:
        worker_name: For people; several workers may have one name.
        models: What it serves.
        max_concurrent: Requests it takes at once.
        protocol_version: Which protocol it uses; None leaves that open.
        current_load: Requests that run there already.
    """

    worker_name: _Word
    models: _Models
    max_concurrent: _Count
    protocol_version: _Word | None = None
    current_load: _Count | None = None


class ModelsUpdate(WorkerMessage, frozen=True, gc=False, omit_defaults=True, tag="models_update"):
    """What a worker serves from now on."""

    models: _Models
    current_load: _Count


class ResponseChunk(WorkerMessage, frozen=True, gc=False, omit_defaults=True, tag="response_chunk"):
    """A part of a streamed answer, cut anywhere between two characters."""

    request_id: _Id
    chunk: str


class WorkerTokens(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How many tokens a request has taken; the stock worker leaves it out."""

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    total_tokens: _Count | None = None


class ResponseComplete(WorkerMessage, frozen=True, omit_defaults=True, tag="response_complete"):
    """The end of an answer: its status and header fields, and the whole body of one that is not streamed."""

    request_id: _Id
    status_code: Annotated[int, Meta(ge=0, le=65535)]
    headers: _Headers = {}
    body: str | None = None
    token_counts: WorkerTokens | None = None


class WorkerPong(WorkerMessage, frozen=True, gc=False, omit_defaults=True, tag="pong"):
    """The answer to a ping: how many requests run there."""

    current_load: _Count
    timestamp_unix_ms: _Milliseconds | None = None


class WorkerFault(WorkerMessage, frozen=True, gc=False, omit_defaults=True, tag="error"):
    """A failure of one request, or of the worker; the stock worker sends none, and its server refuses it."""

    code: _Word
    message: _Text
    request_id: _Id | None = None


class RegisterAck(WorkerMessage, frozen=True, omit_defaults=True, tag="register_ack"):
    """The server has accepted a worker, with these of its models."""

    worker_id: _Id
    models: _Models
    warnings: list[_Text] = []
    protocol_version: _Word | None = None


class WorkerRequest(WorkerMessage, frozen=True, omit_defaults=True, tag="request"):
    """A request for a worker, as an HTTP client sent it.

    Attributes:
        request_id: Names it in what follows.
        model: Which model.
        endpoint_path: Where the worker posts it.
        is_streaming: The answer is asked for as events.
        body: JSON, unchanged.
        headers: By lower-case name.
    """

    request_id: _Id
    model: _Word
    endpoint_path: _Text
    is_streaming: bool
    body: str
    headers: _Headers = {}


class CancelRequest(WorkerMessage, frozen=True, omit_defaults=True, tag="cancel"):
    """A request is not wanted any more; `reason` is a word, or `{"other": text}`."""

    request_id: _Id
    reason: _Word | dict[_Word, _Word]


class WorkerPing(WorkerMessage, frozen=True, gc=False, omit_defaults=True, tag="ping"):
    """Asks for a pong."""

    timestamp_unix_ms: _Milliseconds | None = None


class GracefulShutdown(WorkerMessage, frozen=True, gc=False, omit_defaults=True, tag="graceful_shutdown"):
    """No request follows; the connection is closed once those that run have ended."""

    reason: _Word | None = None
    drain_timeout_secs: _Milliseconds | None = None


class ModelsRefresh(WorkerMessage, frozen=True, gc=False, omit_defaults=True, tag="models_refresh"):
    """Asks for a models_update."""

    reason: _Word | None = None


FromWorker = Register | ModelsUpdate | ResponseChunk | ResponseComplete | WorkerPong | WorkerFault
FromServer = RegisterAck | WorkerRequest | CancelRequest | WorkerPing | GracefulShutdown | ModelsRefresh


class _Tagged(msgspec.Struct, frozen=True, gc=False):
    type: str


_from_worker: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker)
_from_server: msgspec.json.Decoder[FromServer] = msgspec.json.Decoder(FromServer)
_tagged = msgspec.json.Decoder(_Tagged)
_encode = msgspec.json.Encoder().encode

WORKER_TYPES = frozenset(kind.__struct_config__.tag for kind in FromWorker.__args__)
SERVER_TYPES = frozenset(kind.__struct_config__.tag for kind in FromServer.__args__)

Side = TypeVar("Side")


def read_from_worker(frame: str) -> FromWorker | None:
    """Return what a worker sent; None where its type is not known.

    Raises:
        InvalidMessageError: It is not a message.
    """
    return _read(frame, _from_worker, WORKER_TYPES)


def read_from_server(frame: str) -> FromServer | None:
    """Return what a server sent; None where its type is not known.

    Raises:
        InvalidMessageError: It is not a message.
    """
    return _read(frame, _from_server, SERVER_TYPES)


def write_message(message: FromWorker | FromServer) -> str:
    """Return the text of a frame; members that are not set are left out."""
    return _encode(message).decode()


def _read(frame: str, decoder: msgspec.json.Decoder[Side], types: frozenset[Any]) -> Side | None:
    try:
        return decoder.decode(frame)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        if _type_of(frame) in types:
            raise InvalidMessageError(f"The message is not valid: {error}.") from None
        return None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidMessageError(f"The frame is not JSON: {error}.") from None


def _type_of(frame: str) -> str:
    """Return the type that a message has.

    Raises:
        InvalidMessageError: It has none.
    """
    try:
        return _tagged.decode(frame).type
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise InvalidMessageError(f"The message has no type: {error}.") from None
