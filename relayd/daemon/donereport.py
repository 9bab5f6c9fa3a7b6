"""What the requests of a model came to, as a value with one JSON form (part of the status report)."""

from msgspec import Struct


class DoneReport(Struct, frozen=True, omit_defaults=True):
    """What the requests of a model came to since the daemon started: those that have ended.

    Attributes:
        failed: Those of them that were refused, cut or cancelled.
        prompt_tokens: Of all prompts, what was cached included.
        tokens_per_second: How fast each of the last answers was written, by the middle one; 0 without one.
    """

    requests: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tokens_per_second: float = 0.0
