"""What does one client see, byte for byte? Polite ones check their answer, rude ones behave badly."""

import asyncio
import json
import random
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

PATIENCE_SECONDS = 90.0
WHOLE = "whole"
WRONG = "wrong: "
"""What an outcome begins with that no fault excuses."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request whose answer is known."""

    model: str
    prompt: str
    tokens: int
    stream: bool
    chat: bool

    def body(self, **members: object) -> bytes:
        asked: dict[str, object] = {"prompt": self.prompt}
        if self.chat:
            asked = {"messages": [{"role": "user", "content": self.prompt}]}
        fixed = {"max_tokens": self.tokens, "temperature": 0, "seed": 1, "ignore_eos": True}
        return json.dumps({"model": self.model, "stream": self.stream, **asked, **fixed, **members}).encode()

    @property
    def path(self) -> str:
        return "/v1/chat/completions" if self.chat else "/v1/completions"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came: `complete` says that its framing ended as it should."""

    status: int
    body: bytes
    complete: bool


def post(path: str, body: bytes, *, length: int | None = None) -> bytes:
    """Return the bytes of a request."""
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {size}\r\nConnection: close\r\n\r\n".encode() + body


async def ask(port: int, question: Question, expected: str) -> tuple[str, str]:
    """Return how a request came out, and details of that."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
            try:
                writer.write(post(question.path, question.body()))
                reply = await read_reply(reader)
            finally:
                writer.transport.abort()
    except TimeoutError:
        return f"{WRONG}no end within {PATIENCE_SECONDS:g} s", ""
    except ConnectionRefusedError:
        return "connection refused", ""
    except OSError as error:
        return "connection closed without an answer", repr(error)
    if reply is None:
        return "connection closed without an answer", ""
    return judge(question, reply, expected)


async def read_reply(reader: asyncio.StreamReader) -> Reply | None:
    """Read an answer to its end, whatever the end is; None if not even a head came."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    except (asyncio.IncompleteReadError, OSError):
        return None
    status = int(head.split()[1])
    body = bytearray()
    try:
        if "transfer-encoding: chunked" in head:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += await _take(reader, size, body)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            length = int(head.partition("content-length:")[2].split()[0])
            body += await _take(reader, length, body)
    except (asyncio.IncompleteReadError, OSError):
        return Reply(status, bytes(body), complete=False)
    return Reply(status, bytes(body), complete=True)


async def _take(reader: asyncio.StreamReader, size: int, body: bytearray) -> bytes:
    try:
        return await reader.readexactly(size)
    except asyncio.IncompleteReadError as error:
        body += error.partial
        raise


def judge(question: Question, reply: Reply, expected: str) -> tuple[str, str]:
    """Return how an answer came out: whole, failed in a way that can be excused, or wrong."""
    if reply.status != 200:
        return _refusal(reply)
    if not question.stream:
        if not reply.complete:
            return "answer cut", f"{len(reply.body)} bytes"
        text = text_of(json.loads(reply.body)["choices"][0])
        return (
            (WHOLE, "")
            if text == expected
            else (f"{WRONG}other text", f"{text!r} not {expected!r} {question}")
        )
    return _judge_stream(reply, expected)


def _refusal(reply: Reply) -> tuple[str, str]:
    try:
        error = json.loads(reply.body)["error"]
        kind = f"{reply.status} {error['code']}"
        if reply.status == 503 and "cannot serve" in error["message"]:
            kind += ", it gave up" if "gave up" in error["message"] else ", it is stopped"
    except (ValueError, KeyError, TypeError):
        return f"{WRONG}{reply.status} without an error object", repr(reply.body[:200])
    return (kind if reply.complete else f"{WRONG}refusal cut"), str(error["message"])


def _judge_stream(reply: Reply, expected: str) -> tuple[str, str]:
    raw = reply.body.decode("utf-8", "replace")
    *events, rest = raw.split("\n\n")
    data = [event.removeprefix("data: ") for event in events if event.startswith("data: ")]
    told = any(event.startswith('{"error"') for event in data)
    done = "[DONE]" in data
    text = "".join(
        text_of(choice)
        for event in data
        if event != "[DONE]" and not event.startswith('{"error"')
        for choice in json.loads(event).get("choices", ())
    )
    end = f"ends with {raw[-120:]!r}"
    if told and (done or reply.complete):
        return f"{WRONG}a stream that failed looks complete", end
    if reply.complete and not done:
        return f"{WRONG}a stream without [DONE] looks complete", end
    if (text != expected) if done else not expected.startswith(text):
        return f"{WRONG}other text", f"{text!r} not {expected!r}"
    if done:
        return (WHOLE, "") if reply.complete else ("stream cut after its end", end)
    if told:
        return "stream cut, told", ""
    return ("stream cut inside an event" if rest else "stream cut between events, not told"), end


def text_of(choice: dict[str, object]) -> str:
    """Return the text of one choice of any dialect."""
    message = choice.get("delta") or choice.get("message") or {}
    assert isinstance(message, dict)
    return str(choice.get("text") or message.get("content") or "")


Rude = Callable[[int, Question, random.Random], "asyncio.Future[str]"]


async def abort(port: int, question: Question, chance: random.Random) -> str:
    """Leave at a random moment, politely or with a reset."""
    message = post(question.path, question.body())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    phase = chance.choice(["in the head", "in the body", "while waiting", "in the answer"])
    cut = {"in the head": 30, "in the body": len(message) - 20}.get(phase, len(message))
    writer.write(message[:cut])
    if phase == "in the answer":
        await asyncio.wait_for(reader.read(200), PATIENCE_SECONDS)
    await asyncio.sleep(chance.uniform(0, 0.3))
    if chance.random() < 0.5:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
    return phase


async def read_slowly(port: int, question: Question, chance: random.Random) -> str:
    """Ask for a stream through a small window and take a byte now and then, then leave."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    with client:
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, post(question.path, question.body(stream=True, max_tokens=100)))
        until = loop.time() + chance.uniform(2, 8)
        while loop.time() < until:
            with suppress(TimeoutError):
                async with asyncio.timeout(until - loop.time()):
                    if not await loop.sock_recv(client, chance.choice([1, 64])):
                        return "cut"
            await asyncio.sleep(0.2)
    return "left"


GARBAGE: dict[str, bytes] = {
    "noise": bytes(range(256)) * 8,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "no JSON": post("/v1/completions", b"{nonsense"),
    "deep JSON": post("/v1/completions", b"[" * 100_000),
    "no model": post("/v1/completions", b'{"model":"nobody","prompt":"x"}'),
    "bad members": post("/v1/chat/completions", b'{"model":"tiny","messages":"x","max_tokens":-5}'),
    "zeros": post("/v1/completions", bytes(5000)),
    "long head": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "two lengths": post("/v1/completions", b"{}").replace(
        b"Connection:", b"Content-Length: 7\r\nConnection:"
    ),
    "bad chunk": b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "huge, told": post("/v1/completions", b"", length=1 << 40),
    "huge": post("/v1/completions", b'{"model":"tiny","prompt":"' + b"x" * (20 << 20) + b'"}'),
}


async def send_garbage(port: int, _question: Question, chance: random.Random) -> str:
    """Send what no client should; any answer but a refusal is a fault."""
    name = chance.choice(list(GARBAGE))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(GARBAGE[name])
        with suppress(OSError):
            await writer.drain()
        reply = await asyncio.wait_for(read_reply(reader), PATIENCE_SECONDS)
    finally:
        writer.transport.abort()
    if reply is not None and not 400 <= reply.status < 500 and reply.status != 503:
        return f"{WRONG}{name} was answered with {reply.status} {reply.body[:200]!r}"
    return f"{name}: {reply.status if reply else 'hung up'}"
