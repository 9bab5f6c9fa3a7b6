"""What a replica is made smaller to, for how long, and when its full size is tried again."""

from dataclasses import replace
from pathlib import Path

import pytest

from relayd.planner import Basis, Planned, ReplicaSpec, Step
from relayd.supervisor.causes import Cause, Exit
from relayd.supervisor.sizing import FULL_SIZE_AGAIN_SECONDS, MOST_STEPS, Reduction, Sizing, line_of
from relayd.units import Bytes

pytestmark = pytest.mark.pure

FULL = Planned(ReplicaSpec("m", 0, Path("/m.gguf"), slots=8), {"cuda0": Bytes(8)})
DEVICE_OOM = Exit(Cause.DEVICE_OOM, 1, "failed to allocate")
HOST_OOM = Exit(Cause.HOST_OOM, -9, "memory ran out")


def step(slots: int, rung: int = 1) -> Step:
    return Step(Planned(replace(FULL.spec, slots=slots)), rung, f"slots: {slots}")


def reduced(*slots: int, at: float = 0.0) -> Sizing:
    sizing = Sizing.of(FULL)
    for number, count in enumerate(slots, start=1):
        found = sizing.ran_out(step(count, number), at)
        assert found
        sizing = found
    return sizing


def slots(planned: tuple[Planned, ...]) -> list[int]:
    return [one.spec.slots for one in planned]


def test_nothing_is_reduced_at_first() -> None:
    sizing = Sizing.of(FULL)

    assert ((FULL,), (), False, 0) == (sizing.sizes(0.0), sizing.steps, sizing.is_reduced, sizing.next_rung())


def test_each_step_begins_where_the_last_one_ended_and_is_remembered() -> None:
    sizing = reduced(4, 2)

    assert ("slots: 4", "slots: 2") == sizing.steps
    assert 2 == sizing.next_rung()
    assert [2] == slots(sizing.sizes(1.0))
    assert sizing.reduction
    assert (FULL.spec.digest, 2) == (sizing.reduction.line, sizing.reduction.spec.slots)


def test_every_size_is_one_of_the_same_line() -> None:
    first = reduced(4)
    known = first.reduction
    assert known

    recalled, adopted = Sizing.of(FULL).recalled(known), Sizing.of(FULL).adopted(Planned(known.spec), known)

    assert {FULL.spec.digest} == {
        line_of(planned)
        for planned in (first.current, *first.sizes(1.0), *recalled.sizes(1.0), adopted.current)
    }


def test_when_the_ladder_is_at_its_end_nothing_smaller_is_left() -> None:
    assert None is reduced(4).ran_out(None, 0.0)


def test_no_more_than_some_steps_are_tried() -> None:
    assert None is reduced(*range(MOST_STEPS, 0, -1)).next_rung()


def test_within_a_day_of_running_out_of_memory_the_full_size_is_not_tried() -> None:
    assert [4] == slots(reduced(4, at=100.0).sizes(100.0 + FULL_SIZE_AGAIN_SECONDS - 1))


def test_a_day_later_it_is_asked_for_first_and_the_smaller_one_would_do() -> None:
    assert [8, 4] == slots(reduced(4, at=100.0).sizes(100.0 + FULL_SIZE_AGAIN_SECONDS))


def test_a_full_size_that_is_tried_again_in_vain_goes_back_to_what_is_known_to_fit() -> None:
    again = reduced(4, at=0.0).started_as(FULL)
    assert ((), None) == (again.steps, again.next_rung()), "no ladder is climbed down anew"

    back = again.ran_out(None, 5.0)

    assert back
    assert (("slots: 4",), [4]) == (back.steps, slots(back.sizes(5.0 + FULL_SIZE_AGAIN_SECONDS - 1)))


def test_a_full_size_that_comes_up_again_is_reduced_no_more() -> None:
    again = reduced(4).started_as(FULL).fits()

    assert None is again.reduction
    assert None is not reduced(4).fits().reduction


def test_an_operators_restart_brings_the_full_size_back_while_the_smaller_one_still_runs() -> None:
    sizing = reduced(4).planned_anew()

    assert ([8], 4, None) == (slots(sizing.sizes(0.0)), sizing.current.spec.slots, sizing.reduction)


def test_other_bytes_for_the_same_process_change_nothing_else() -> None:
    more = replace(FULL, needs={"cuda0": Bytes(9)})

    assert more == Sizing.of(FULL).replanned(more).current
    kept = reduced(4).replanned(more)
    assert (more, ("slots: 4",)) == (kept.wanted, kept.steps)


def test_a_line_that_changes_forgets_the_reduction() -> None:
    other = Planned(replace(FULL.spec, context=4096))

    assert None is reduced(4).replanned(other).reduction


def test_the_next_daemon_recalls_a_reduction_of_the_same_line_only() -> None:
    known = reduced(4).reduction
    assert known

    assert [4] == slots(Sizing.of(FULL).recalled(known).sizes(1.0))
    assert [8] == slots(Sizing.of(FULL).recalled(replace(known, line="another")).sizes(1.0))
    assert [8] == slots(Sizing.of(FULL).recalled(None).sizes(1.0))


def test_an_adopted_process_keeps_its_size_and_its_steps() -> None:
    known = reduced(4).reduction
    assert known

    sizing = Sizing.of(FULL).adopted(Planned(known.spec), known)

    assert (4, ("slots: 4",), FULL) == (sizing.current.spec.slots, sizing.steps, sizing.wanted)


def test_an_adopted_process_with_another_placement_keeps_it_until_its_next_start() -> None:
    line = ReplicaSpec("m", 0, Path("/m.gguf"))
    wanted = Planned(replace(line, slots=8), line=line)
    running = replace(line, slots=6)

    sizing = Sizing.of(wanted).adopted(Planned(running), None)

    assert (running, (), [8]) == (sizing.current.spec, sizing.steps, slots(sizing.sizes(0.0)))


def test_the_line_is_what_the_operator_fixed_not_what_was_planned() -> None:
    line = ReplicaSpec("m", 0, Path("/m.gguf"))

    assert line.digest == line_of(Planned(replace(line, slots=8), line=line))
    assert FULL.spec.digest == line_of(FULL)


@pytest.mark.parametrize(
    ("exit_", "expected"), [(DEVICE_OOM, True), (HOST_OOM, True), (Exit(Cause.CRASH, 1, "x"), False)]
)
def test_only_memory_makes_a_replica_smaller(exit_: Exit, expected: bool) -> None:
    assert expected is Sizing.of(FULL).may_shrink(exit_)


def test_the_smaller_size_keeps_what_it_needs_over_daemons() -> None:
    smaller = Planned(replace(FULL.spec, slots=4), {"cuda0": Bytes(5)}, Basis.PREDICTED)
    first = Sizing.of(FULL).ran_out(Step(smaller, 1, "slots: 8 → 4"), 0.0)
    assert first
    assert first.reduction

    (recalled,) = Sizing.of(FULL).recalled(first.reduction).sizes(1.0)
    adopted = Sizing.of(FULL).adopted(smaller, first.reduction).current

    expected = (smaller.needs, smaller.basis)
    assert [expected] * 3 == [(one.needs, one.basis) for one in (first.current, recalled, adopted)]


def test_a_reduction_is_a_value_that_compares() -> None:
    assert Reduction("a", FULL.spec, 1, ("x",), 0.0) == Reduction("a", FULL.spec, 1, ("x",), 0.0)


def test_a_replica_on_demand_may_start_in_each_of_its_sizes() -> None:
    small = replace(FULL, spec=replace(FULL.spec, slots=2))
    sizing = Sizing.of(replace(FULL, others=(small,)))

    assert [8, 2] == slots(sizing.sizes(0.0))
    granted = sizing.started_as(small)
    assert (2, False, ()) == (granted.current.spec.slots, granted.is_reduced, granted.steps)
    assert [8, 2] == slots(granted.fits().sizes(0.0))
