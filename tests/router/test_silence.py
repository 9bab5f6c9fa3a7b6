"""Is a stream that sends nothing noticed, and one that is not read left alone?"""

import asyncio

import pytest

from relayd.router.silence import Silence

pytestmark = [pytest.mark.pure]


class Watched:
    """Notes when it was looked at."""

    def __init__(self) -> None:
        self.looked_at = asyncio.Event()

    def fall_silent(self, since: float, silence_seconds: float) -> None:
        assert since < asyncio.get_running_loop().time()
        assert 0.01 == silence_seconds
        self.looked_at.set()


def test_one_timer_looks_at_every_stream_until_it_is_left() -> None:
    async def scene() -> None:
        silence = Silence(0.01)
        first, second = Watched(), Watched()
        silence.watch(first)
        silence.watch(second)

        await first.looked_at.wait()
        await second.looked_at.wait()

        assert "<Silence streams=2>" == repr(silence)
        silence.leave(second)
        first.looked_at.clear()
        second.looked_at.clear()
        await first.looked_at.wait()
        assert not second.looked_at.is_set()
        silence.close()
        assert "<Silence streams=0>" == repr(silence)

    asyncio.run(scene())
