"""What counts for a replica, what is free, and where a load takes place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.scheduler.ledger import Ledger, fits, lanes, missing
from relayd.units import Bytes

pytestmark = pytest.mark.pure


def by(**accounts: int) -> dict[str, Bytes]:
    return {account: Bytes(count) for account, count in accounts.items()}


def ledger(**rooms: int) -> Ledger:
    made = Ledger()
    made.limit(by(**rooms))
    return made


def test_without_limits_nothing_is_counted() -> None:
    unlimited = Ledger()
    unlimited.enter("m#0", by(host=1 << 60))

    assert unlimited.free() is None
    assert unlimited.is_possible(by(host=1 << 60))
    assert [] == unlimited.rows()


def test_the_larger_of_planned_and_measured_counts_account_by_account() -> None:
    subject = ledger(host=10, cuda0=10)
    subject.enter("m#0", by(host=2, cuda0=5))
    subject.measure("m#0", by(host=3, cuda0=4))

    assert by(host=7, cuda0=5) == subject.free()


def test_what_was_measured_at_first_gives_way_to_what_is_measured_next() -> None:
    subject = ledger(host=10)
    subject.enter("m#0", by(host=2))
    subject.measure("m#0", by(host=9))
    subject.measure("m#0", by(host=3))

    assert by(host=7) == subject.free()


def test_other_programs_and_replicas_over_the_limit_make_free_negative() -> None:
    subject = ledger(host=10)
    subject.enter("adopted#0", by(host=9))
    subject.note_others(by(host=4))

    assert by(host=-3) == subject.free()
    assert not fits(by(host=1), subject.free() or {})
    assert fits(by(host=0, cuda0=0), subject.free() or {})


def test_a_release_gives_back_what_was_entered_and_only_once() -> None:
    subject = ledger(host=10)
    subject.enter("m#0", by(host=4))

    assert subject.release("m#0")
    assert not subject.release("m#0")
    assert by(host=10) == subject.free()


def test_a_measure_of_what_is_not_entered_counts_nothing() -> None:
    subject = ledger(host=10)
    subject.measure("m#0", by(host=4))

    assert by(host=10) == subject.free()


def test_an_account_without_a_limit_has_no_room() -> None:
    assert not ledger(host=10).is_possible(by(cuda0=1))


def test_a_row_shows_planned_measured_held_others_and_free() -> None:
    subject = ledger(cuda0=10, host=20)
    subject.enter("a#0", by(cuda0=4))
    subject.enter("b#0", by(cuda0=3, host=1))
    subject.measure("b#0", by(cuda0=5))
    subject.note_others(by(cuda0=2))
    host, device = subject.rows()

    assert ("host", 20, 1, 0, 1, 0, 19) == (
        host.account, host.capacity, host.planned, host.measured, host.held, host.others, host.free,
    )  # fmt: skip
    assert ("cuda0", 10, 7, 5, 9, 2, -1) == (
        device.account, device.capacity, device.planned, device.measured, device.held, device.others,
        device.free,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("need", "expected"),
    [
        (by(host=5, cuda0=1), {"cuda0"}),
        (by(host=5, cuda0=1, cuda1=1), {"cuda0", "cuda1"}),
        (by(host=5, cuda0=0), {"host"}),
        (by(host=0), set()),
    ],
)
def test_a_load_takes_place_on_its_devices_else_on_the_host(
    need: dict[str, Bytes], expected: set[str]
) -> None:
    assert expected == lanes(need)


def test_what_is_missing_is_named_account_by_account() -> None:
    assert by(cuda0=2) == missing(by(host=3, cuda0=6), by(host=3, cuda0=4))
    assert by(cuda0=6) == missing(by(cuda0=4), by(cuda0=-2))


AMOUNTS = st.dictionaries(st.sampled_from(["host", "cuda0"]), st.integers(0, 9).map(Bytes))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["enter", "measure", "release"]), AMOUNTS)))
def test_free_is_the_limit_less_what_each_holds(acts: list[tuple[str, str, dict[str, Bytes]]]) -> None:
    subject = ledger(host=20, cuda0=20)
    planned, measured = dict[str, dict[str, Bytes]](), dict[str, dict[str, Bytes]]()
    for name, act, amounts in acts:
        if act == "enter":
            subject.enter(name, amounts)
            planned[name], measured[name] = amounts, {}
        elif act == "measure":
            subject.measure(name, amounts)
            measured[name] = amounts if name in planned else {}
        else:
            subject.release(name)
            planned.pop(name, None)
    for account in ("host", "cuda0"):
        held = sum(max(planned[one].get(account, 0), measured[one].get(account, 0)) for one in planned)
        assert 20 - held == (subject.free() or {})[account]
