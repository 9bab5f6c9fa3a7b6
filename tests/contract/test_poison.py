"""A request that crashes replicas ends no other request, and reaches no third replica."""

import threading
from collections.abc import Callable

import pytest

from tests.daemon.test_faults import Outcome, ask
from tests.daemons import Daemon, wait_until

pytestmark = pytest.mark.fake


class Honest:
    """Clients that ask for one short answer after the other, each another one, until they are stopped."""

    def __init__(self, url: str, clients: int) -> None:
        self.outcomes: list[Outcome] = []
        self._url = url
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, client: int) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            prompt = f"honest {client} {number}"
            self.outcomes.append(ask(self._url, 4, stream=False, model="m", prompt=prompt))

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_request_that_crashes_replicas_is_refused_and_no_other_is_lost(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str], replicas: int
) -> None:
    daemon = start_faked(faulty(m="poison=poison", replicas=replicas, slots=4))
    honest = Honest(daemon.url, 6)
    wait_until(lambda: len(honest.outcomes) > 20)

    answers = [ask(daemon.url, 4, stream=False, model="m", prompt="poison") for _ in range(3)]
    crashed = sum(replica["restarts"] for replica in daemon.replicas().values())
    seen = len(honest.outcomes)
    wait_until(lambda: len(honest.outcomes) > seen + 20)
    honest.stop()

    assert [422, 422, 422] == [answer.status for answer in answers]
    assert crashed <= 3
    assert {200} == {outcome.status for outcome in honest.outcomes}
