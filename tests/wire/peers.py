"""A scripted worker, and clients, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

SECRET = "the-secret-of-the-workers"


class ScriptedWorker:
    """A worker that does only what a test has it do."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: list[dict[str, Any]] = []

    async def send(self, kind: str, **members: object) -> None:
        await self.socket.send_str(json.dumps({"type": kind, **members}))

    async def receive(self, kind: str) -> dict[str, Any]:
        """Return the next message of a type; pings are answered."""
        while True:
            frame = await self.socket.receive()
            assert frame.type is aiohttp.WSMsgType.TEXT, (frame, self.seen)
            message: dict[str, Any] = json.loads(frame.data)
            self.seen.append(message)
            if message["type"] == kind:
                return message
            if message["type"] == "ping":
                await self.send("pong", current_load=0)

    async def register(self, *models: str, slots: int = 1, name: str = "box") -> dict[str, Any]:
        await self.send(
            "register",
            worker_name=name,
            models=list(models),
            max_concurrent=slots,
            protocol_version="2026-04-bridge-v1",
            current_load=0,
        )
        return await self.receive("register_ack")

    async def complete(self, request: dict[str, Any], body: str = "", status: int = 200) -> None:
        await self.send(
            "response_complete",
            request_id=request["request_id"],
            status_code=status,
            headers={"content-type": "application/json"},
            body=body,
        )

    async def chunk(self, request: dict[str, Any], text: str) -> None:
        await self.send("response_chunk", request_id=request["request_id"], chunk=text)

    async def closed(self) -> tuple[int, str]:
        """Return how the hub closes the connection."""
        while (frame := await self.socket.receive()).type is not aiohttp.WSMsgType.CLOSE:
            assert frame.type is aiohttp.WSMsgType.TEXT, frame
        return frame.data, str(frame.extra)


@asynccontextmanager
async def worker_at(
    url: str, *, secret: str | None = SECRET, query: str = "?provider=lab"
) -> AsyncIterator[ScriptedWorker]:
    """Connect a worker to the hub at a URL."""
    headers = {} if secret is None else {"X-Worker-Secret": secret}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"{url}/v1/worker/connect{query}", headers=headers, max_msg_size=1 << 26
        ) as socket,
    ):
        yield ScriptedWorker(socket)


def chat(model: str, *, stream: bool = False, **members: object) -> dict[str, object]:
    """Return the body of a chat."""
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream, **members}


ANSWER = json.dumps({
    "id": "c-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
})  # fmt: skip


def delta(text: str) -> str:
    """Return an event of a streamed chat."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({'id': 'c-1', 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"


DONE = "data: [DONE]\n\n"


async def settled(condition: Any) -> Any:
    """Wait until a coroutine function returns something true, and return that."""
    while not (found := await condition()):
        await asyncio.sleep(0.01)
    return found
