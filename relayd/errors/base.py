"""What has every error in common: a code, two statuses, a message and a remedy."""

from typing import ClassVar


class RelaydError(Exception):
    """Base of every error; each kind that a caller can tell apart has a class below.

    Args:
        message: What failed and which value, one sentence.
        remedy: What to do next; printed after the message.

    Attributes:
        code: Names the kind to programs; an error that stands for one of another program has that one's.
        exit_status: Of a command that ends by it.
        http_status: Of an answer that reports it.
    """

    code: str = "internal_error"
    exit_status: ClassVar[int] = 1
    http_status: int = 500

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message
