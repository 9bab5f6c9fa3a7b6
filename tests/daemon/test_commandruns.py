"""Do the commands that the dashboard has run print what they print on a terminal, and can pulls be ended?"""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from relayd.clock import SystemClock
from relayd.daemon.arguments import ModelArguments
from relayd.daemon.commandruns import CommandRuns
from relayd.daemon.livereport import PullReport
from relayd.errors import NotFoundError, RequestError
from tests.daemon.assembled import MODEL, desired
from tests.daemons import DEADLINE_SECONDS, home_environ

pytestmark = pytest.mark.system


def runs(home: Path) -> CommandRuns:
    environ = home_environ(home) | {"PYTHONPATH": str(Path.cwd())}
    return CommandRuns(desired(home, MODEL, environ=environ), SystemClock())


async def ended(book: CommandRuns) -> PullReport:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while book.pulls().pulls[-1].state == "running":
            await asyncio.sleep(0.02)
    return book.pulls().pulls[-1]


async def test_a_document_is_what_the_command_prints(home: Path) -> None:
    first, second = await asyncio.gather(runs(home).hardware(), runs(home).hardware())

    assert "cpu" in first
    assert first.keys() == second.keys()


async def test_a_pull_that_fails_keeps_its_last_line(home: Path) -> None:
    book = runs(home)
    await book.pull(ModelArguments("no-such-model-of-the-catalogue"))

    report = await ended(book)

    assert ("failed", True) == (report.state, bool(report.text))
    with pytest.raises(NotFoundError):
        book.end_pull(report.model)


@pytest.mark.parametrize("name", ["--force", "", "a b", "a\nb", "x" * 400])
async def test_what_cannot_be_a_name_is_not_given_to_a_command(home: Path, name: str) -> None:
    with pytest.raises(RequestError):
        await runs(home).pull(ModelArguments(name))


async def test_a_pull_is_interrupted(home: Path) -> None:
    book = runs(home)
    await book.pull(ModelArguments("http://127.0.0.1:9/never.gguf"))
    report = book.end_pull("http://127.0.0.1:9/never.gguf").pulls[0]
    book.close()

    assert PullReport("http://127.0.0.1:9/never.gguf", "interrupted") == replace(report, since=0.0)
