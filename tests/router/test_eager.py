"""A coroutine runs without a task until it waits for something else than a `Pause`."""

import asyncio
from collections.abc import Callable

import pytest

from relayd.router.eager import EagerRun, Pause, become_task, current

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]


async def test_it_runs_at_once_and_goes_on_inside_of_what_ends_its_wait() -> None:
    seen, pause = list[str](), Pause()

    async def work() -> None:
        seen.append("begun")
        await pause
        seen.append(f"over, a task: {asyncio.current_task() is not outer}")

    outer = asyncio.current_task()
    EagerRun(work())
    assert ["begun"] == seen
    pause.go_on()
    pause.go_on()
    assert ["begun", "over, a task: False"] == seen


async def test_a_pause_that_is_over_is_no_wait() -> None:
    pause = Pause()
    pause.go_on()

    await pause


async def test_a_task_waits_for_a_pause_too() -> None:
    pause = Pause()
    asyncio.get_running_loop().call_soon(pause.go_on)

    await pause


async def test_any_other_wait_makes_it_a_task_which_keeps_what_came_before() -> None:
    done, seen = asyncio.Event(), list[object]()

    async def work() -> None:
        kept = current()
        await become_task()
        seen.append(current() is asyncio.current_task())
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        pause = Pause()
        asyncio.get_running_loop().call_soon(pause.go_on)
        await pause
        seen.append(isinstance(kept, EagerRun))
        done.set()

    EagerRun(work())
    await done.wait()
    assert [True, True] == seen


@pytest.mark.parametrize("wait", [Pause, asyncio.Event], ids=["eager", "a task"])
async def test_a_cancellation_is_raised_where_it_waits(wait: Callable[[], Pause | asyncio.Event]) -> None:
    ended, left = asyncio.Event(), list[int]()

    async def work() -> None:
        one = wait()
        try:
            await (one.wait() if isinstance(one, asyncio.Event) else one)
        except asyncio.CancelledError:
            left.append(run.uncancel())
        ended.set()

    run = EagerRun(work())
    run.cancel()
    assert [] == left
    await ended.wait()
    assert [0] == left


async def test_a_cancellation_after_the_end_changes_nothing() -> None:
    pause, seen = Pause(), list[str]()

    async def work() -> None:
        await pause
        seen.append("over")

    run = EagerRun(work())
    run.cancel()
    pause.go_on()
    await asyncio.sleep(0)
    assert ["over"] == seen


async def test_what_waits_again_after_a_cancellation_goes_on() -> None:
    first, second, seen = Pause(), asyncio.get_running_loop().create_future(), list[str]()

    async def work() -> None:
        try:
            await asyncio.shield(second)
        except asyncio.CancelledError:
            seen.append("cancelled")
        await second
        seen.append("over")
        first.go_on()

    run = EagerRun(work())
    run.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second.set_result(None)
    await first
    assert ["cancelled", "over"] == seen


async def test_runs_inside_of_each_other_keep_apart() -> None:
    inner, outer, seen = Pause(), Pause(), list[object]()

    async def second() -> None:
        await inner
        seen.append(current())

    async def first() -> None:
        await outer
        inner.go_on()
        seen.append(current())

    runs = [EagerRun(first()), EagerRun(second())]
    outer.go_on()
    assert [runs[1], runs[0]] == seen
