"""Which models and slots of a worker are accepted?"""

import pytest

from relayd.remote.modelrelay.attempts import FailedAttempts
from relayd.remote.modelrelay.messages import Register
from relayd.remote.modelrelay.registration import (
    accept_models,
    accept_slots,
    is_version_known,
    worker_label,
)

pytestmark = pytest.mark.pure


def test_c53_names_are_trimmed_and_each_is_accepted_once_in_order() -> None:
    assert accept_models([" b ", "a", "b", ""]).models == ("b", "a")


@pytest.mark.parametrize("name", ["x" * 129, "a\nb", "a\x00", "ä", "\u202eevil"])
def test_names_that_cannot_be_shown_are_left_out_with_a_warning(name: str) -> None:
    accepted = accept_models(["good", name])

    assert accepted.models == ("good",)
    assert len(accepted.warnings) == 1


def test_a_worker_has_256_models_at_most() -> None:
    accepted = accept_models([f"m{number}" for number in range(300)])

    assert len(accepted.models) == 256
    assert len(accepted.warnings) == 44


def test_a_wildcard_is_not_routed_and_the_warning_has_the_remedy() -> None:
    accepted = accept_models(["*"])

    assert accepted.models == ()
    assert accepted.has_wildcard
    assert "--models" in accepted.warnings[0]


def test_the_last_warning_states_that_nothing_was_accepted() -> None:
    assert accept_models([]).warnings == ("No model is accepted, so this worker gets no request.",)


@pytest.mark.parametrize(("registered", "slots"), [(0, 1), (1, 1), (7, 7), (4_000_000_000, 4096)])
def test_a_worker_has_one_slot_at_least_and_4096_at_most(registered: int, slots: int) -> None:
    assert accept_slots(registered) == slots


@pytest.mark.parametrize(
    ("version", "known"), [(None, True), ("2026-04-bridge-v1", True), ("1", False), ("", False)]
)
def test_c52_a_version_is_absent_or_equal(version: str | None, known: bool) -> None:
    assert is_version_known(Register("w", [], 1, version)) is known


@pytest.mark.parametrize(
    ("name", "taken", "label"),
    [
        ("gpu-box", set(), "gpu-box"),
        ("gpu-box", {"gpu-box"}, "gpu-box-2"),
        ("gpu-box", {"gpu-box", "gpu-box-2"}, "gpu-box-3"),
        ("my box!", set(), "my-box"),
        ("a@b#1", set(), "a-b-1"),
        ("\n\x00", set(), "worker"),
        ("x" * 1000, set(), "x" * 48),
    ],
)
def test_a_label_is_unique_and_fits_a_replica_name(name: str, taken: set[str], label: str) -> None:
    assert worker_label(name, taken) == label


def test_c51_three_failures_block_a_peer_for_a_moment_that_ends_by_itself() -> None:
    attempts = FailedAttempts()
    for _ in range(2):
        attempts.failed("a", 0.0)
    assert not attempts.is_blocked("a", 0.0)

    attempts.failed("a", 0.0)

    assert attempts.is_blocked("a", 0.2)
    assert not attempts.is_blocked("a", 0.25)


def test_c51_failures_of_one_peer_do_not_block_another() -> None:
    attempts = FailedAttempts()
    for _ in range(9):
        attempts.failed("a", 0.0)

    assert attempts.is_blocked("a", 1.0)
    assert not attempts.is_blocked("b", 0.0)


def test_c51_each_further_failure_doubles_the_wait_up_to_30_seconds() -> None:
    attempts = FailedAttempts()
    for _ in range(100):
        attempts.failed("a", 0.0)

    assert attempts.is_blocked("a", 29.9)
    assert not attempts.is_blocked("a", 30.0)


def test_c51_a_success_clears_the_failures() -> None:
    attempts = FailedAttempts()
    for _ in range(9):
        attempts.failed("a", 0.0)

    attempts.succeeded("a")

    assert not attempts.is_blocked("a", 0.0)


def test_the_failures_of_4096_peers_are_kept_at_most() -> None:
    attempts = FailedAttempts()
    for number in range(5000):
        attempts.failed(str(number), 0.0)

    assert repr(attempts) == "<FailedAttempts peers=4096>"
