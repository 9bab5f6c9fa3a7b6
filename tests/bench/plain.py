"""A router without a rule, of aiohttp's server and client: what Python costs where nobody looked.

python -m tests.bench.plain PORT ENGINE.sock
"""

import asyncio
import sys

import uvloop
from aiohttp import ClientSession, UnixConnector, web


async def serve(port: int, engine: str) -> None:
    """Pass every request on, and its answer back as it comes."""
    async with ClientSession(connector=UnixConnector(engine, limit=0)) as client:

        async def relay(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            fields = {"Content-Type": request.content_type}
            url = f"http://engine{request.path}"
            async with client.request(request.method, url, data=body, headers=fields) as answer:
                passed = web.StreamResponse(status=answer.status)
                passed.content_type = answer.content_type
                passed.content_length = answer.content_length
                await passed.prepare(request)
                async for chunk in answer.content.iter_any():
                    await passed.write(chunk)
                await passed.write_eof()
                return passed

        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", relay)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
