"""Which commands to a node are not answered yet, and what becomes of them when its link is lost?"""

import asyncio

from relayd.remote.link import Link
from relayd.remote.messages import NodeCommand, NodeReply, framed

COMMAND_SECONDS = 600.0
"""How long a command may take at a node: a load of a large model from a slow disk."""


class Replies:
    """Commands to a node that are not answered yet."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[NodeReply]] = {}
        self._last = 0

    def __repr__(self) -> str:
        return f"<Replies waiting={len(self._waiting)}>"

    async def ask(self, link: Link, verb: str, target: str, lines: int = 50) -> NodeReply:
        """Send a command, and return the answer; a link that is lost answers it with `link_failed`."""
        self._last += 1
        number = self._last
        waiting: asyncio.Future[NodeReply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            link.send(framed(NodeCommand(number, verb, target, lines)))
            async with asyncio.timeout(COMMAND_SECONDS):
                await waiting
                return waiting.result()
        except TimeoutError:
            return NodeReply(number, code="link_failed", message=f"no answer came in {COMMAND_SECONDS:g} s")
        finally:
            self._waiting.pop(number, None)

    def take(self, reply: NodeReply) -> None:
        """Pass a reply on."""
        waiting = self._waiting.get(reply.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    def fail(self, message: str) -> None:
        """Answer whatever waits with a failure."""
        for number in tuple(self._waiting):
            self.take(NodeReply(number, code="link_failed", message=message))
