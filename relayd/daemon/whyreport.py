"""What does `relayd why` report of a request: a value, which commands read without loading the router?"""

import msgspec


class WhyReport(msgspec.Struct, frozen=True):
    """How much of a prompt was reused, and what kept the engine from reusing more.

    Attributes:
        request: Its id.
        model: Who answered.
        replica: Where.
        prompt_tokens: Of its prompt.
        cached_tokens: Of those, what the engine had read before.
        prompt_seconds: How long it read the others.
        cause: `reused`, `new`, `client`, `template`, `evicted`, `other_replica` or `restart`.
        earlier: The id of the request that it is compared with; empty without one.
        difference: The first part that differs from that; empty where none does.
        lost_tokens: What was read again.
        lost_seconds: How long that took.
        text: All of it, in a sentence.
    """

    request: str
    model: str
    replica: str
    prompt_tokens: int
    cached_tokens: int
    prompt_seconds: float
    cause: str
    earlier: str = ""
    difference: str = ""
    lost_tokens: int = 0
    lost_seconds: float = 0.0
    text: str = ""
