"""Are the three answers what their names promise?"""

from dataclasses import replace

import pytest

from relayd.planner.answers import (
    QUICK_BYTES,
    Proposal,
    ProposalKind,
    answers,
    comfortable_bytes,
    download_minutes,
)
from relayd.planner.placement import Place
from relayd.planner.quality import Use
from relayd.planner.rank import Request
from tests.planner.chains import best, room
from tests.planner.models import known

pytestmark = pytest.mark.pure

MACHINES = ("8gb laptop, 4 cores, bandwidth=35", "4090,ram=64", "m4 max 64")


def three(machine: str, use: Use = Use.CHAT, users: int = 1) -> tuple[Proposal, ...]:
    first = next(iter(best(machine, use, users)), None)
    return answers(list(known(use).values()), room(machine), Request(use, users=users), first)


@pytest.mark.parametrize("machine", MACHINES)
def test_each_kind_is_given_once_and_no_file_twice(machine: str) -> None:
    found = three(machine)

    assert sorted(ProposalKind) == sorted(kind for one in found for kind in one.kinds)
    files = [(one.advice.known.name, one.placement.form.quantization.name) for one in found]
    assert len(files) == len(set(files))


@pytest.mark.parametrize("machine", MACHINES)
def test_a_comfortable_model_leaves_half_of_the_memory_and_is_whole_on_gpus(machine: str) -> None:
    there = room(machine)
    (comfortable,) = (one for one in three(machine) if ProposalKind.COMFORTABLE in one.kinds)
    bare = replace(comfortable.placement.setup, cache_ram_mib=0)

    assert comfortable.placement.form.nbytes <= comfortable_bytes(there)
    if ProposalKind.BEST not in comfortable.kinds:
        assert there.shared_by(2).short_of(comfortable.placement.form.build().needs(bare)) is None
    assert (comfortable.placement.place is Place.CPU) == (not there.gpus)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_quick_model_is_small_and_no_slower_than_the_best(machine: str) -> None:
    found = three(machine)
    (quick,) = (one for one in found if ProposalKind.QUICK in one.kinds)
    (first,) = (one for one in found if ProposalKind.BEST in one.kinds)

    assert quick.placement.form.nbytes <= QUICK_BYTES
    assert quick.placement.alone.value >= 0.9 * first.placement.alone.value


def test_a_machine_without_room_gets_no_answer() -> None:
    assert () == three("ram=1,bandwidth=1")


def test_a_download_is_timed_at_100_mbit() -> None:
    assert (1, 7) == (download_minutes(1), download_minutes(5 * 10**9))
