"""Where is the end of a rewritten answer made?"""

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from relayd.api.openai import OPENAI
from relayd.router.answer import ReplicaAnswer
from relayd.router.headers import Head
from tests.router.test_progress import Client

pytestmark = pytest.mark.pure


@dataclass
class Rewritten:
    """A translation that notes the thread in which it ended."""

    media_type: str = "application/json"
    threads: list[str] = field(default_factory=list)

    def feed(self, payload: bytes) -> bytes:
        return b""

    def end(self) -> bytes:
        self.threads.append(threading.current_thread().name)
        return b"{}"


@pytest.mark.parametrize(
    ("length", "aside", "on_the_loop"), [(300_000, True, False), (300_000, False, True), (30_000, True, True)]
)
def test_the_end_of_a_long_answer_that_touches_nothing_else_is_made_aside(
    length: int, aside: bool, on_the_loop: bool
) -> None:
    client, translation = Client(), Rewritten()
    head = Head(200, length, chunked=False, keep_alive=True)
    dialect = OPENAI.answering(translation, ends_aside=aside)
    answer = ReplicaAnswer(client, head, {}, dialect, translation, stall_seconds=1)

    async def scene() -> None:
        answer.start()
        answer.take(b"x" * length)
        await answer.finish()

    asyncio.run(scene())

    assert [on_the_loop] == [name == threading.current_thread().name for name in translation.threads]
    assert b"{}" == client.written
