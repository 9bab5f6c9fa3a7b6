"""Commands that the dashboard has run beside the daemon: what fits, what is on disk, pulls with progress.

They are the commands of the terminal, in processes of their own: page and terminal cannot differ, and nothing
of what they compute, read or fetch holds up the event loop.
"""

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from relayd.clock import Clock
from relayd.daemon.arguments import ModelArguments, RecommendArguments
from relayd.daemon.livereport import PullReport, PullsReport
from relayd.desired.state import DesiredState
from relayd.errors import NotFoundError, RequestError
from relayd.printable import printable

_PATIENCE_SECONDS = 300.0
_KEPT = 20
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,255}")
"""What can be pulled, as it is typed: nothing that begins with a dash is taken for an option."""


class CommandRuns:
    """Runs commands of relayd, a few at a time.

    Args:
        desired: What the daemon was given; the commands read the same configuration.
        clock: Time.
    """

    def __init__(self, desired: DesiredState, clock: Clock) -> None:
        self._desired = desired
        self._clock = clock
        self._running: dict[tuple[str, ...], asyncio.Task[Any]] = {}
        self._pulls: dict[str, _Pull] = {}

    def __repr__(self) -> str:
        return f"<CommandRuns running={len(self._running)} pulls={len(self._pulls)}>"

    async def hardware(self) -> Any:
        """Return what `relayd hardware --json` prints.

        Raises:
            RequestError: It fails.
        """
        return await self._document("hardware")

    async def catalog(self) -> Any:
        """Return what `relayd models list --all --json` prints.

        Raises:
            RequestError: It fails.
        """
        return await self._document("models", "list", "--all")

    async def recommend(self, arguments: RecommendArguments) -> Any:
        """Return what `relayd recommend --json` prints.

        Raises:
            RequestError: It fails.
        """
        return await self._document("recommend", *(("--for", arguments.use) if arguments.use else ()))

    async def pull(self, arguments: ModelArguments) -> PullsReport:
        """Begin to fetch a model, unless it is being fetched.

        Raises:
            RequestError: The name cannot be one.
        """
        model = arguments.model
        if not _MODEL.fullmatch(model):
            raise RequestError(
                f"{model[:128]!r} is not the name of a model.", remedy="See `relayd models --all`."
            )
        known = self._pulls.get(model)
        if known is None or known.report.state != "running":
            self._pulls[model] = begun = _Pull(model, self._clock.wall())
            begun.start(self._command("pull", model), self._environ())
            for old in [*self._pulls][:-_KEPT]:
                if self._pulls[old].report.state != "running":
                    del self._pulls[old]
        return self.pulls()

    def pulls(self) -> PullsReport:
        """Return the pulls that run, and the last ones that have ended."""
        return PullsReport(tuple(one.report for one in self._pulls.values()))

    def end_pull(self, model: str) -> PullsReport:
        """Interrupt a pull; what it has fetched is kept, and the next one goes on there.

        Raises:
            NotFoundError: None of that model runs.
        """
        found = self._pulls.get(model)
        if found is None or found.report.state != "running":
            raise NotFoundError(f"No pull of {model[:128]!r} runs.", remedy="GET /admin/pulls lists them.")
        found.interrupt()
        return self.pulls()

    def close(self) -> None:
        """Interrupt every pull."""
        for one in self._pulls.values():
            if one.report.state == "running":
                one.interrupt()

    async def _document(self, *command: str) -> Any:
        """Return what a command prints as JSON; callers at the same time share one run."""
        if (task := self._running.get(command)) is None:
            run = asyncio.to_thread(_printed, self._command(*command, "--json"), self._environ())
            task = self._running[command] = asyncio.create_task(run)
            task.add_done_callback(lambda _: self._running.pop(command, None))
        return await asyncio.shield(task)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "relayd", *words]

    def _environ(self) -> Mapping[str, str]:
        config = self._desired.arguments.config
        more = {"RELAYD_CONFIG": str(config)} if config else {}
        return {**self._desired.environ, **more, "NO_COLOR": "1", "COLUMNS": "100"}


class _Pull:
    """One pull, which runs in a thread beside its process."""

    def __init__(self, model: str, since: float) -> None:
        self.report = PullReport(model, since=since)
        self._process: subprocess.Popen[str] | None = None
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<_Pull {self.report.model} {self.report.state}>"

    def start(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._task = asyncio.create_task(asyncio.to_thread(self._run, command, environ))

    def interrupt(self) -> None:
        self.report = msgspec.structs.replace(self.report, state="interrupted")
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def _run(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        with subprocess.Popen(  # noqa: S603 - this interpreter, and words that were checked
            command, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, errors="replace",
        ) as process:  # fmt: skip
            self._process = process
            if self.report.state != "running":
                process.terminate()  # it was interrupted before it had begun
            for line in process.stderr or ():
                if text := printable(line).strip():
                    done = re.search(r"(\d{1,3})(?:\.\d+)? ?%", text)
                    share = int(done[1]) / 100 if done else self.report.share
                    self.report = msgspec.structs.replace(self.report, text=text[:300], share=share)
            status = process.wait()
        if self.report.state == "running":
            state = "failed" if status else "done"
            self.report = msgspec.structs.replace(
                self.report, state=state, share=self.report.share if status else 1.0
            )


def _printed(command: Sequence[str], environ: Mapping[str, str]) -> Any:
    """Return the document that a command prints. Blocks.

    Raises:
        RequestError: It fails, or takes too long.
    """
    name = " ".join(["relayd", *command[3:]])
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, and words that were checked
            command, env={**environ, "PYTHONUNBUFFERED": "1"}, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=_PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        return msgspec.json.decode(done.stdout)
    except (OSError, subprocess.TimeoutExpired, msgspec.DecodeError) as error:
        raise RequestError(f"`{name}` failed.", remedy="Run it on a terminal to see why.") from error
