"""What may be assumed of the server at an endpoint, a replica or one elsewhere (profile)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EndpointProfile:
    """Which API a server has, and what it can do.

    Attributes:
        model: What it calls the model; empty sends the name that the client asked for.
        base: What its paths begin with, such as `/api`; without the `/v1` that is in every path.
        half_closes: It takes the half-close of a connection for a cancellation, and closes its own half when
            it is done with the request. Else closing the connection cancels, and the slot counts as free.
        continues: It can go on with the answer of another replica, from the text of that.
        key_header: The header that its key goes in: `Authorization: Bearer` where that is its name.
        silence_seconds: How long an answer may make no progress; 0 is as for a replica.
    """

    model: str = ""
    base: str = ""
    half_closes: bool = True
    continues: bool = True
    key_header: str = "Authorization"
    silence_seconds: float = 0.0


LOCAL = EndpointProfile()
"""A llama-server that relayd started. The hot path compares with this very object."""
