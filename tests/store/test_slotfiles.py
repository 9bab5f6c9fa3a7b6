"""Slot files count once they are whole, within a bound, and only with all of their bytes."""

import os
from pathlib import Path

import pytest

from relayd.clock import SystemClock
from relayd.store.slotfiles import SlotFiles, remove_slot_files

pytestmark = pytest.mark.pure

KEY, OTHER = "a" * 32, "b" * 32


def write(files: SlotFiles, key: str, slot: int, size: int = 100) -> str:
    """Write what an engine would, and return its name."""
    name = files.part(key, slot)
    (files.folder / name).write_bytes(bytes([slot]) * size)
    return name


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix in (".slot", ".part")}


def test_files_are_found_again_by_their_key_the_longest_prompt_first(tmp_path: Path) -> None:
    files = SlotFiles(tmp_path, 1000, SystemClock())
    files.put(KEY, [(write(files, KEY, 0), 600), (write(files, KEY, 1), 900)])
    files.put(OTHER, [(write(files, OTHER, 0), 700)])
    again = SlotFiles(tmp_path, 1000, SystemClock())

    assert [900, 600] == [one.tokens for one in again.find(KEY)]
    assert all(again.is_sound(one) for one in again.find(KEY))
    assert {0o600} == {(tmp_path / one.name).stat().st_mode & 0o777 for one in again.find(KEY)}


def test_what_is_kept_again_takes_the_place_of_what_was(tmp_path: Path) -> None:
    files = SlotFiles(tmp_path, 1000, SystemClock())
    files.put(KEY, [(write(files, KEY, 0), 600)])
    files.put(KEY, [(write(files, KEY, 1), 900)])

    assert [900] == [one.tokens for one in files.find(KEY)]
    assert 1 == len(names(tmp_path))


def test_the_files_that_were_used_longest_ago_make_room(tmp_path: Path) -> None:
    files = SlotFiles(tmp_path, 250, SystemClock())
    for key in ("c" * 32, OTHER, KEY):
        files.put(key, [(write(files, key, 0), 600)])
    assert [0, 1, 1] == [len(files.find(key)) for key in ("c" * 32, OTHER, KEY)]

    files.used(files.find(OTHER), [])
    files.put("d" * 32, [(write(files, "d" * 32, 0), 600)])

    assert [1, 0] == [len(files.find(key)) for key in (OTHER, KEY)]
    assert 2 == len(names(tmp_path))


@pytest.mark.parametrize("harm", [b"", bytes(99), bytes(101), b"\1" + bytes(99)])
def test_a_file_that_is_not_what_was_entered_is_not_sound(tmp_path: Path, harm: bytes) -> None:
    files = SlotFiles(tmp_path, 1000, SystemClock())
    files.put(KEY, [(write(files, KEY, 0), 600)])
    [one] = files.find(KEY)
    (tmp_path / one.name).write_bytes(harm)

    assert not files.is_sound(one)
    files.used([], [one])
    assert ([], set()) == (files.find(KEY), names(tmp_path))


def test_a_file_that_is_gone_is_not_sound(tmp_path: Path) -> None:
    files = SlotFiles(tmp_path, 1000, SystemClock())
    files.put(KEY, [(write(files, KEY, 0), 600)])
    [one] = files.find(KEY)
    (tmp_path / one.name).unlink()

    assert not files.is_sound(one)


def test_what_was_begun_and_not_entered_counts_for_nothing(tmp_path: Path) -> None:
    files = SlotFiles(tmp_path, 1000, SystemClock())
    write(files, KEY, 0)
    assert [] == files.find(KEY)

    files.clean(KEY)

    assert set() == names(tmp_path)


def test_what_an_engine_can_read_back_is_remembered(tmp_path: Path) -> None:
    SlotFiles(tmp_path, 1000, SystemClock()).judge(KEY, fit=False)

    assert SlotFiles(tmp_path, 1000, SystemClock()).fits(KEY) is False
    assert SlotFiles(tmp_path, 1000, SystemClock()).fits(OTHER) is None


def test_where_nothing_is_kept_any_more_nothing_is_left(tmp_path: Path) -> None:
    files = SlotFiles(tmp_path, 1000, SystemClock())
    files.put(KEY, [(write(files, KEY, 0), 600)])
    remove_slot_files(tmp_path, SystemClock())
    remove_slot_files(tmp_path / "never was", SystemClock())

    assert set() == names(tmp_path)
    assert [] == SlotFiles(tmp_path, 1000, SystemClock()).find(KEY)


def test_what_a_killed_daemon_had_begun_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    files = SlotFiles(tmp_path, 1000, SystemClock())
    left, fresh = (tmp_path / write(files, OTHER, slot) for slot in (0, 1))
    os.utime(left, (0, 0))

    files.put(KEY, [(write(files, KEY, 0), 600)])

    assert (False, True) == (left.exists(), fresh.exists())
