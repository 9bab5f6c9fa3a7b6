"""Does an upstream, a node or a worker answer (a request of one token)?"""

import msgspec

from relayd.daemon.arguments import NameArguments
from relayd.daemon.parts import DaemonParts
from relayd.daemon.upstreamreport import TestedReport
from relayd.errors import NotFoundError, RelaydError
from relayd.remote import OfferState, RemoteCapacity
from relayd.router import Call
from relayd.router.remotecall import for_remote, read_problem

_TEST_SECONDS = 120.0


class UpstreamTest:
    """The verb that tests an upstream, a node or a worker.

    Args:
        parts: Of the daemon.
    """

    def __init__(self, parts: DaemonParts) -> None:
        self._parts = parts

    def __repr__(self) -> str:
        return f"<UpstreamTest on {self._parts.remotes!r}>"

    async def test(self, arguments: NameArguments) -> TestedReport:
        """Have an upstream, a node or a worker answer a request of one token.

        Raises:
            NotFoundError: It serves nothing now.
        """
        name = arguments.name
        found = [one for one in self._parts.remotes if one.offer.origin == name]
        ready = [one for one in found if one.state is OfferState.READY]
        if not ready:
            watch = next((one for one in self._parts.upstreams if one.source.name == name), None)
            why = watch.problem if watch is not None else next((one.reason for one in found), "")
            because = f": {why}" if why else ""
            raise NotFoundError(f"{name[:128]!r} serves nothing now{because}.", remedy="See `relayd status`.")
        return await self._tested(name, ready[0])

    async def _tested(self, name: str, one: RemoteCapacity) -> TestedReport:
        clock, endpoint, model = self._parts.clock, one.endpoint, one.offer.model
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        began = clock.monotonic()
        try:
            call = await for_remote(Call("/v1/chat/completions", msgspec.json.encode(body)), endpoint)
            found = await self._parts.upstreams.fetch(endpoint, call, timeout_seconds=_TEST_SECONDS)
        except (OSError, RelaydError) as error:
            text = error.message if isinstance(error, RelaydError) else str(error) or type(error).__name__
            return TestedReport(name, model, problem=text, seconds=clock.monotonic() - began)
        problem = "" if found.status < 300 else read_problem(found.status, found.body).message
        return TestedReport(name, model, found.status, clock.monotonic() - began, problem)
