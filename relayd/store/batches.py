"""Files that clients have uploaded and batches of requests: two tables of the database, and their rows.

A row holds what has to outlive a crash and changes seldom. What a batch has done is in its own folder
(`batch.journal`); the counts of a row are those of its last change of state.
"""

import enum
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from relayd.store.database import Database

FORMAT = 1
"""The layout of the rows' documents."""


class BatchState(enum.StrEnum):
    """What a batch does, as OpenAI names it."""

    VALIDATING = "validating"
    """Its lines are read for the first time."""
    FAILED = "failed"
    """Some of them cannot be run, so that none was."""
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    """Every line is answered; the last files are written."""
    COMPLETED = "completed"
    EXPIRED = "expired"
    """Its time was over before every line was answered."""
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing changes any more."""
        return self in _OVER


_OVER = frozenset({BatchState.FAILED, BatchState.COMPLETED, BatchState.EXPIRED, BatchState.CANCELLED})


class BatchKind(enum.StrEnum):
    """Whose API a batch was made with, and so how its results are written."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class BatchFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file as the database has it.

    Attributes:
        id: `file-…`.
        key: The id of the key that it belongs to; empty without one.
        name: What its owner calls it.
        purpose: `batch`, or `batch_output`.
        size: Bytes; of a result that is being written those of the last change of its batch.
        created: Seconds since 1970.
        expires: When it may be removed; None never.
        batch: The batch whose result it is; empty for an upload.
        format: The layout of this document.
    """

    id: str
    key: str
    name: str
    purpose: str
    size: int
    created: float
    expires: float | None = None
    batch: str = ""
    format: int = FORMAT


class LineFault(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a line of a batch cannot be run.

    Attributes:
        code: For programs.
        message: For people.
        line: Its number, from 1; None where it concerns all of them.
        param: The member at fault.
    """

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class LineCounts(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many lines of a batch have come to which end.

    Attributes:
        total: All of them; 0 before they are read.
        completed: Answered with a success.
        failed: Answered with an error.
        cancelled: Not run, as the batch was cancelled.
        expired: Not run, as its time was over.
    """

    total: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0

    @property
    def done(self) -> int:
        """How many have come to an end."""
        return self.completed + self.failed + self.cancelled + self.expired


class LineUsage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a batch, or one of its lines, has used.

    Attributes:
        prompt: Tokens of prompts, those that were in the cache included.
        cached: Those of them that were in the cache.
        completion: Tokens of answers.
        reasoning: Those of them that were reasoning.
        milliseconds: How long slots were taken.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    milliseconds: int = 0

    def plus(self, other: "LineUsage") -> "LineUsage":
        """Return the sum of both."""
        return LineUsage(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
            self.reasoning + other.reasoning,
            self.milliseconds + other.milliseconds,
        )


class StoredBatch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A batch as the database has it; moments are seconds since 1970.

    Attributes:
        id: `batch_…` or `msgbatch_…`.
        kind: Whose API it was made with.
        key: The id of the key that it belongs to; empty without one.
        state: What it does.
        endpoint: The path of its lines; empty where each names its own.
        window: How long it may take, as its owner wrote it.
        expires: When its time is over.
        created: When it was made.
        input_file: The upload that it was made of; empty for a message batch.
        output_file: Where its answers are; a message batch has all results there.
        error_file: Where the errors are.
        output_seconds: How long its results are kept; None for the usual time.
        metadata: What its owner wrote to it.
        moments: State -> when it began.
        counts: Of its lines.
        usage: Of them.
        models: That its lines name.
        faults: Why it has failed.
        format: The layout of this document.
    """

    id: str
    kind: BatchKind
    key: str
    state: BatchState
    endpoint: str
    window: str
    expires: float
    created: float
    input_file: str = ""
    output_file: str = ""
    error_file: str = ""
    output_seconds: float | None = None
    metadata: dict[str, str] = {}
    moments: dict[str, float] = {}
    counts: LineCounts = LineCounts()
    usage: LineUsage = LineUsage()
    models: tuple[str, ...] = ()
    faults: tuple[LineFault, ...] = ()
    format: int = FORMAT

    def entering(self, state: BatchState, now: float) -> "StoredBatch":
        """Return it in another state, which begins now."""
        return msgspec.structs.replace(self, state=state, moments={**self.moments, state.value: now})

    @property
    def ended(self) -> float | None:
        """When it ended; None before it has."""
        return self.moments.get(self.state.value) if self.state.is_over else None


Row = TypeVar("Row", BatchFile, StoredBatch)


class _Table(Generic[Row]):
    """One of the tables; every method blocks.

    Args:
        database: Where it is.
        name: The table.
        kind: Of its rows.
    """

    def __init__(self, database: Database, name: str, kind: type[Row]) -> None:
        self._database = database
        self._name = name
        self._decoder: msgspec.json.Decoder[Row] = msgspec.json.Decoder(kind)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._database!r}>"

    def put(self, row: Row) -> None:
        """Write a row, on disk when this returns.

        Raises:
            StateError: It cannot be written.
        """
        self.put_all((row,))

    def put_all(self, rows: Sequence[Row]) -> None:
        """Write rows, all of them or none.

        Raises:
            StateError: They cannot be written.
        """
        with self._database.changing(durable=True) as connection:
            for row in rows:
                connection.execute(
                    f"INSERT INTO {self._name} (id, key, document) VALUES (?, ?, ?) "  # noqa: S608 - constants
                    "ON CONFLICT (id) DO UPDATE SET document = excluded.document",
                    (row.id, row.key, msgspec.json.encode(row)),
                )

    def remove(self, ids: Sequence[str]) -> None:
        """Remove rows.

        Raises:
            StateError: They cannot be removed.
        """
        with self._database.changing(durable=True) as connection:
            question = f"DELETE FROM {self._name} WHERE id = ?"  # noqa: S608 - constants
            connection.executemany(question, [(one,) for one in ids])

    def every(self) -> list[Row]:
        """Return all rows, in the order in which they were made.

        Raises:
            StateError: They cannot be read.
        """
        with self._database.reading() as connection:
            question = f"SELECT document FROM {self._name} ORDER BY place"  # noqa: S608 - constants
            found = connection.execute(question).fetchall()
        return [self._decoder.decode(document) for (document,) in found]


class FileTable(_Table[BatchFile]):
    """The files of a database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, "files", BatchFile)


class BatchTable(_Table[StoredBatch]):
    """The batches of a database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, "batches", StoredBatch)
