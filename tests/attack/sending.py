"""Sending one hostile body, or doing one strange thing to a connection, and reading what comes."""

import asyncio
import json
import re
import sys
import time
from contextlib import suppress

from tests.attack.case import Case
from tests.attack.outcome import Outcome
from tests.attack.wire import Form, HalfClose, Pause
from tests.soak.clients import Reply, post, read_reply

PATIENCE_SECONDS = 40.0
"""An answer that takes longer counts as none: the client leaves."""

FORM_SECONDS = 6.0
"""How long answers to a form are read; a connection that is kept alive does not end by itself."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_CODE = re.compile(rb'"code":"(\w+)"')


async def send_body(port: int, case: Case) -> Outcome:
    """Post a body and return how that came out."""
    began = time.monotonic()
    reply = None
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            reply = await _exchange(port, post(case.path, case.body))
    seconds = time.monotonic() - began
    if seconds > 10:
        sys.stderr.write(f"{seconds:.0f} s: {case.kind}: {case.name}\n")
    if reply is None:
        return Outcome(case.kind, case.name, 0, seconds=seconds)
    return Outcome(case.kind, case.name, reply.status, _code(reply), seconds)


async def _exchange(port: int, message: bytes) -> Reply | None:
    """A refusal may come before the body is sent: it is read all the same."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    try:
        with suppress(OSError):
            writer.write(message)
            await writer.drain()
        return await read_reply(reader)
    finally:
        writer.transport.abort()


def _code(reply: Reply) -> str:
    if reply.status < 400:
        return "" if reply.complete else "cut"
    try:
        return str(json.loads(reply.body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "without an error object"


async def send_form(port: int, form: Form) -> Outcome:
    """Act out a form and return its first failure, or else its last answer."""
    began = time.monotonic()
    received = bytearray()
    with suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        reading = asyncio.create_task(_read(reader, received))
        try:
            await _act(writer, form, reading)
            await asyncio.wait([reading], timeout=FORM_SECONDS)
        finally:
            reading.cancel()
            writer.transport.abort()
            await asyncio.gather(reading, return_exceptions=True)
    statuses = [int(status) for status in _STATUS.findall(bytes(received)) if status != b"100"]
    codes = _CODE.findall(bytes(received))
    worst = next((status for status in statuses if status in (500, 502, 504)), (statuses or [444])[-1])
    return Outcome(
        form.kind,
        form.name,
        worst,  # 444: the connection was closed without an answer, which noise may be
        codes[-1].decode() if codes else "",
        time.monotonic() - began,
        smuggled=len(statuses) > form.answers,
        let_in=bool(statuses) and 200 <= worst < form.refused_from,
    )


async def _act(writer: asyncio.StreamWriter, form: Form, reading: "asyncio.Task[None]") -> None:
    for step in form.steps:
        if reading.done():
            return
        if isinstance(step, Pause):
            await asyncio.wait([reading], timeout=step.seconds)
        elif isinstance(step, HalfClose):
            writer.write_eof()
        else:
            writer.write(step)
            await writer.drain()


async def _read(reader: asyncio.StreamReader, received: bytearray) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            received += data
