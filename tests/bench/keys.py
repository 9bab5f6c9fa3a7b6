"""What do a key and its limits cost a request? `python -m tests.bench.keys`

A thousand keys are known; the best of many rounds counts, as the machine is rarely quiet.
"""

import time
from collections.abc import Callable, MutableMapping

from multidict import CIMultiDict, CIMultiDictProxy

from relayd.api.allowance import Allowance
from relayd.api.keys import FailedKeys, Keyring
from relayd.clock import SystemClock
from relayd.rights import KeyLimits, KeyRights, Quota
from relayd.router.exchange import Exchanges
from relayd.scheduler.exchange import Usage
from relayd.scheduler.limits import Spending
from tests.api.conftest import known_keys

KEYS, ROUNDS, TIMES = 1_000, 60, 1_000

_MANY = 10**9
_LIMITS = {
    "requests a minute": KeyRights(limits=KeyLimits(rpm=_MANY)),
    "requests and tokens a minute": KeyRights(limits=KeyLimits(rpm=_MANY, tpm=_MANY)),
    "those, and a quota of tokens a month": KeyRights(
        limits=KeyLimits(rpm=_MANY, tpm=_MANY), quotas=(Quota("tokens", _MANY, "month"),)
    ),
}


def best_us(work: Callable[[], object]) -> float:
    """Return the microseconds of one call in the best round."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(TIMES):
            work()
        best = min(best, time.perf_counter() - began)
    return best / TIMES * 1e6


def main() -> None:
    """Print a table."""
    clock = SystemClock()
    keys = [f"sk-relayd-{number:032d}" for number in range(KEYS)]
    ring = Keyring(FailedKeys(clock), known_keys(*keys))
    head = CIMultiDictProxy(CIMultiDict({"Host": "localhost", "Authorization": f"Bearer {keys[KEYS // 2]}"}))
    digest, grant = ring.digest(head), ring.identify(head, "127.0.0.1")
    print(f"{best_us(lambda: ring.identify(head, '127.0.0.1')):5.2f} us  a key, in a new head")
    print(f"{best_us(lambda: ring.still_holds(digest, grant)):5.2f} us  a key, in a known head")
    for name, rights in _LIMITS.items():
        print(f"{best_us(_use_of(rights, clock)):5.2f} us  limits: {name}, arrival and end")


def _use_of(rights: KeyRights, clock: SystemClock) -> Callable[[], None]:
    """Return one request's use of a key, its fields for the client included."""
    allowance = Allowance(rights, Spending(clock.wall()), clock)
    record = Exchanges(clock).begin("id", "/v1/chat/completions", "key")
    record.usage = Usage(10, 5)
    headers: MutableMapping[str, str] = {}

    def use() -> None:
        headers.clear()
        with allowance.use(record, headers):
            pass

    return use


if __name__ == "__main__":
    main()
