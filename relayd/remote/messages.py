"""What hub and node write in the JSON of their frames (messages of a link).

Members are added with a default, never renamed; a reader ignores those that it does not know. Sizes are
bytes, times are seconds.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from relayd.errors import LinkError
from relayd.remote.frames import VERSIONS, DocumentFrame, FrameKind

HEARTBEAT_SECONDS = 5.0
"""How often each side sends a sign of life."""

SILENT_BEATS = 3
"""After how many missing signs of life a connection counts as broken."""


class LinkHello(Struct, frozen=True, omit_defaults=True):
    """Of the node, first: who it is, and which link it goes on with.

    Attributes:
        versions: Of the protocol, that it knows.
        relayd: Its version of relayd.
        label: What its operator calls its owner or place (`provider`).
        link: The link that it goes on with; empty for a new one.
        points: Stream of that link → bytes that it has of it.
    """

    versions: tuple[int, ...] = VERSIONS
    relayd: str = ""
    label: str = ""
    link: str = ""
    points: dict[int, int] = {}


class LinkWelcome(Struct, frozen=True, omit_defaults=True):
    """Of the hub, the answer.

    Attributes:
        version: Of the protocol, that is used from now on.
        node: What the hub calls the node.
        link: The link; the node's, if that goes on.
        points: Stream of the link → bytes that the hub has of it; None where the link is a new one.
        resume_seconds: How long each side keeps the streams of a broken link.
        heartbeat_seconds: How often each side sends a sign of life.
        hub: What the hub is called on the bus; empty where it is not there.
        files: The hub passes model files from machine to machine.
    """

    version: int
    node: str
    link: str
    points: dict[int, int] | None = None
    resume_seconds: float = 30.0
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    hub: str = ""
    files: bool = False


class LinkRefusal(Struct, frozen=True, omit_defaults=True):
    """Of the hub, instead: why it takes no link, for programs and for people."""

    code: str
    message: str


class StreamOpening(Struct, frozen=True, omit_defaults=True):
    """Of OPEN: what the stream reaches.

    Attributes:
        replica: As the node calls it.
        incarnation: Which life of it.
    """

    replica: str
    incarnation: int


class ServedProfile(Struct, frozen=True, omit_defaults=True):
    """What a replica of a node is, where relayd has not started it: as `EndpointProfile` has it."""

    model: str = ""
    continues: bool = True
    silence_seconds: float = 0.0


class ServedReplica(Struct, frozen=True, omit_defaults=True):
    """One replica of a node.

    Attributes:
        replica: As the node calls it.
        model: What clients ask for.
        incarnation: Which life of it.
        slots: Requests that it works on at once.
        state: `ready`, or why it takes nothing: `expected`, `paused`, `cold`, `gone`.
        reason: Why, for people.
        context: Tokens that a slot holds.
        abilities: What the model can do.
        aliases: Other names of the model.
        kept_tokens: Tokens of earlier prompts that it keeps beside those of its slots; 0 when not known.
        profile: What it is; None is a llama-server that the node's relayd has started.
        needs: Account of the node's ledger → bytes that it takes there.
        load_seconds: How long its load takes, as far as that is known; 0 is not known.
        is_here: Its file is on the node's disk.
        can_load: A request may have it loaded.
    """

    replica: str
    model: str
    incarnation: int = 0
    slots: int = 1
    state: str = "ready"
    reason: str = ""
    context: int = 0
    abilities: tuple[str, ...] = ("completion",)
    aliases: tuple[str, ...] = ()
    kept_tokens: float = 0.0
    profile: ServedProfile | None = None
    needs: dict[str, int] = {}
    load_seconds: float = 0.0
    is_here: bool = True
    can_load: bool = False


class NodeAccount(Struct, frozen=True, omit_defaults=True):
    """One account of a node's memory ledger (bytes)."""

    account: str
    capacity: int
    held: int = 0
    free: int = 0


class Inventory(Struct, frozen=True, omit_defaults=True):
    """What a node is and serves; sent whenever that has changed.

    Attributes:
        relayd: Its version of relayd.
        platform: Operating system and processor.
        devices: What it computes with, for people.
        accounts: Its memory ledger.
        replicas: What it serves, or could.
        draining: It takes no new requests.
        label: What its operator calls its owner or place (`provider`).
        files: The SHA-256 of model files that other machines may have from it.
    """

    relayd: str = ""
    platform: str = ""
    devices: tuple[str, ...] = ()
    accounts: tuple[NodeAccount, ...] = ()
    replicas: tuple[ServedReplica, ...] = ()
    draining: bool = False
    label: str = ""
    files: tuple[str, ...] = ()


class Occupancy(Struct, frozen=True):
    """Slots of replicas that others than the hub use: the node's own clients, and other hubs."""

    elsewhere: dict[str, int] = {}


class NodeCommand(Struct, frozen=True, omit_defaults=True):
    """Of the hub: a verb of the node's operators, and what it takes.

    Attributes:
        id: Of the command; the reply has it.
        verb: `load`, `unload`, `drain`, `start`, `stop`, `logs`, `pull`, `pulls`, `end_pull` or `machine`.
        target: A model or replica of the node; empty for all.
        lines: Of `logs`: how many of the last lines.
    """

    id: int
    verb: str
    target: str = ""
    lines: int = 50


class NodeReply(Struct, frozen=True, omit_defaults=True):
    """Of the node: what a command came to.

    Attributes:
        id: Of the command.
        result: Its answer.
        code: Why it failed, for programs; empty when it did not.
        message: Why, for people.
    """

    id: int
    result: msgspec.Raw = msgspec.Raw(b"null")
    code: str = ""
    message: str = ""


class BlockWanted(Struct, frozen=True):
    """Of either side: bytes of the file of a SHA-256, from a place on; BLOCK of this id answers."""

    id: int
    sha256: str
    at: int
    bytes: int


class Goaway(Struct, frozen=True, omit_defaults=True):
    """This side takes no new streams; those that are open have so long.

    Attributes:
        reason: Why, for people.
        seconds: How long open streams have; None is without limit.
    """

    reason: str
    seconds: float | None = None


KIND_OF: Mapping[type[Struct], FrameKind] = {
    LinkHello: FrameKind.HELLO,
    LinkWelcome: FrameKind.WELCOME,
    LinkRefusal: FrameKind.REFUSED,
    Inventory: FrameKind.INVENTORY,
    Occupancy: FrameKind.OCCUPANCY,
    NodeCommand: FrameKind.COMMAND,
    NodeReply: FrameKind.REPLY,
    Goaway: FrameKind.GOAWAY,
    BlockWanted: FrameKind.WANTED,
}
_TYPE_OF = {kind: made for made, kind in KIND_OF.items()} | {FrameKind.OPEN: StreamOpening}


def framed(document: Struct) -> DocumentFrame:
    """Return the frame that carries a document of the link itself."""
    return DocumentFrame(KIND_OF[type(document)], 0, msgspec.json.encode(document))


def document_of(frame: DocumentFrame) -> Struct:
    """Return the document of a frame.

    Raises:
        LinkError: It has another form.
    """
    return read_document(frame.kind, frame.document)


def read_document(kind: FrameKind, raw: bytes) -> Struct:
    """Return the document of a kind of frame.

    Raises:
        LinkError: It has another form.
    """
    try:
        return msgspec.json.decode(raw, type=_TYPE_OF[kind])
    except (msgspec.DecodeError, KeyError) as error:
        raise LinkError(f"a frame {kind.name} is malformed: {error}") from error


def newest_version(offered: tuple[int, ...]) -> int | None:
    """Return the newest version of the protocol that both sides know; None when there is none."""
    return max(set(offered) & set(VERSIONS), default=None)
