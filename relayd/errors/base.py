"""What has every error in common: a code, two statuses, a message and a remedy."""

from typing import ClassVar


class RelaydError(Exception):
    """Base of every error; each kind that a caller can tell apart has a class below.

    Args:
        message: What failed and which value, one sentence.
        remedy: What to do next; printed after the message.
    """

    code: ClassVar[str] = "internal_error"
    exit_status: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message
