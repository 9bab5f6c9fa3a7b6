"""What is passed on of what happens here (`[notify]`): to a command, to webhooks; a few a minute at most.

| event | when |
|---|---|
| `loaded` | a replica is ready |
| `evicted` | a replica has left memory for others |
| `given_up` | a replica was given up |
| `out_of_memory` | a replica has ended for want of memory |
| `queue_long` | a request has waited for its slot for half a minute |
| `batch_over` | a batch has ended |
| `batch_paused` | results of batches cannot be written |
| `unknown_model` | clients have asked for a model that is not here |
"""

import asyncio
import logging
import os
import subprocess
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from relayd.clock import Clock
from relayd.config.schema import Notify
from relayd.daemon.attention import LONG_QUEUE_SECONDS
from relayd.errors import ModelNotFoundError
from relayd.journal import Journal
from relayd.supervisor.causes import Cause

AGAIN_SECONDS = 60.0
"""How long the same event about the same subject is left out after it was passed on."""

MOST_IN_A_MINUTE = 30
_LOOK_SECONDS = 5.0
_COMMAND_SECONDS = 30.0
_WEBHOOK_SECONDS = 10.0
_MOST_WAITING = 100
_MEMORY = frozenset({Cause.HOST_OOM.value, Cause.DEVICE_OOM.value})


class Notification(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is passed on, as JSON.

    Attributes:
        event: One of the table above.
        subject: The model or replica that it is about.
        text: What happened, a sentence.
        at: When, in seconds since 1970.
        left_out: Earlier ones of this event and subject that were left out, as they came too often.
    """

    event: str
    subject: str
    text: str
    at: float
    left_out: int = 0


class NotificationLimits:
    """Which notifications are passed on, and which come too often.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[tuple[str, str], tuple[float, int]] = {}
        self._recent: deque[float] = deque(maxlen=MOST_IN_A_MINUTE)

    def __repr__(self) -> str:
        return f"<NotificationLimits {len(self._last)} subjects>"

    def admit(self, event: str, subject: str) -> int | None:
        """Return how many were left out before this one; None leaves this one out too."""
        now, place = self._clock.monotonic(), (event, subject)
        last, left_out = self._last.get(place, (now - AGAIN_SECONDS, 0))
        is_full = len(self._recent) == MOST_IN_A_MINUTE and now - self._recent[0] < 60
        if now - last < AGAIN_SECONDS or is_full:
            self._last[place] = (last, left_out + 1)
            return None
        self._last[place] = (now, 0)
        self._recent.append(now)
        return left_out


class Notifications(logging.Handler):
    """Passes on what happens to a command and to webhooks, one after the other.

    Args:
        settings: Returns `[notify]` as it is now.
        clock: Time.
        waits: Returns model → how long its oldest request has waited (seconds).
        refused: Returns code of an error → how many requests got it.
    """

    def __init__(
        self,
        settings: Callable[[], Notify],
        clock: Clock,
        waits: Callable[[], Mapping[str, float]],
        refused: Callable[[], Mapping[str, int]],
    ) -> None:
        super().__init__(logging.INFO)
        self._settings = settings
        self._clock = clock
        self._waits = waits
        self._refused = refused
        self._limits = NotificationLimits(clock)
        self._waiting: deque[Notification] = deque(maxlen=_MOST_WAITING)
        self._came = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._journal = Journal("notify")

    def __repr__(self) -> str:
        return f"<Notifications waiting={len(self._waiting)} {self._limits!r}>"

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on an event of the journal, if it is one of those that are."""
        settings = self._settings()
        if settings.command or settings.webhooks:
            found = notification_of(getattr(record, "event", ""), getattr(record, "fields", {}))
            if found is not None:
                self._loop.call_soon_threadsafe(self.add, *found)

    def add(self, event: str, subject: str, text: str) -> None:
        """Pass something on, unless it comes too often."""
        left_out = self._limits.admit(event, subject)
        if left_out is not None:
            self._waiting.append(Notification(event, subject, text, round(self._clock.wall(), 3), left_out))
            self._came.set()

    async def run(self) -> None:
        """Send what waits until this is cancelled."""
        looking = asyncio.create_task(self._look())
        try:
            while True:
                await self._came.wait()
                self._came.clear()
                while self._waiting:
                    await self._send(self._waiting.popleft())
        finally:
            looking.cancel()

    async def _look(self) -> None:
        """Look for what the journal is not given: long queues, and models that are asked for and not here."""
        known = self._refused().get(ModelNotFoundError.code, 0)
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            settings, asked = self._settings(), self._refused().get(ModelNotFoundError.code, 0)
            if settings.command or settings.webhooks:
                for model, seconds in self._waits().items():
                    if seconds >= LONG_QUEUE_SECONDS:
                        text = f"A request for {model} has waited for {seconds:.0f} s."
                        self.add("queue_long", model, text)
                if asked > known:
                    self.add(
                        "unknown_model", "", f"{asked - known} requests asked for a model that is not here."
                    )
            known = asked

    async def _send(self, notification: Notification) -> None:
        settings, body = self._settings(), msgspec.json.encode(notification)
        if settings.command:
            self._report(notification, await asyncio.to_thread(_run, settings.command, notification, body))
        for url in settings.webhooks:
            self._report(notification, await asyncio.to_thread(_post, url, body))

    def _report(self, notification: Notification, fault: str) -> None:
        if fault:
            self._journal.warning("notify.failed", about=notification.event, message=fault)


def notification_of(event: str, fields: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return event, subject and text of what the journal was given; None for what is not passed on."""
    replica = str(fields.get("replica", ""))
    cause = str(fields.get("cause", ""))
    if event == "replica.ready":
        return "loaded", replica, f"{replica} is ready."
    if event == "replica.evicted":
        return "evicted", replica, f"{replica} leaves memory: {cause}."
    if event == "replica.fatal":
        return "given_up", replica, f"{replica} was given up. See: relayd status"
    if event == "replica.exited" and cause in _MEMORY:
        return "out_of_memory", replica, f"{replica} has ended: {cause}."
    if event == "batch.over":
        batch, state = str(fields.get("batch", "")), fields.get("state")
        done = f"{fields.get('completed', 0)} answered, {fields.get('failed', 0)} failed"
        return "batch_over", batch, f"{batch} is {state}: {done}, {fields.get('not_run', 0)} not run."
    if event == "batch.paused":
        return "batch_paused", "", f"Batches are paused: {fields.get('message', '')}"
    return None


def _run(command: Iterable[str], notification: Notification, body: bytes) -> str:
    """Run a command with a notification as its input; return what failed. Blocks."""
    own = {
        "RELAYD_EVENT": notification.event,
        "RELAYD_SUBJECT": notification.subject,
        "RELAYD_TEXT": notification.text,
    }
    try:
        subprocess.run(  # noqa: S603 - the operator's own command, as a list of words
            [*command], input=body, env={**os.environ, **own}, timeout=_COMMAND_SECONDS, check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return f"{next(iter(command))}: {error}"
    return ""


def _post(url: str, body: bytes) -> str:
    """Send a notification to a webhook; return what failed. Blocks."""
    request = urllib.request.Request(  # noqa: S310 - http and https only: the settings are checked
        url, body, {"Content-Type": "application/json", "User-Agent": "relayd"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=_WEBHOOK_SECONDS):  # noqa: S310 - likewise
            return ""
    except (OSError, ValueError) as error:
        return f"{url}: {error}"
