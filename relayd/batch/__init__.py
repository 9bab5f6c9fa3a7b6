"""Batches: work that can wait, and its client for Python programs.

The client is imported when it is asked for: neither does it load the daemon, nor the daemon it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relayd.batch.client.relay import RelayClient
    from relayd.batch.client.values import BatchJob, BatchRequest

__all__ = ["BatchJob", "BatchRequest", "RelayClient"]


def __getattr__(name: str) -> Any:
    """Import what a program uses of the client (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from relayd.batch.client import relay  # noqa: PLC0415 - only for programs that use it

    return getattr(relay, name)
