"""Which results count after a crash, a torn write or a full disk."""

import errno
import os
from pathlib import Path

import pytest

from relayd.batch.journal import LineJournal, LineOutcome, LineResult
from relayd.batch.place import BatchPaths
from relayd.errors import StateError, StorageFullError
from relayd.store.batches import LineUsage

pytestmark = pytest.mark.fake


def result(number: int, text: str = "{}", *, is_error: bool = False) -> LineResult:
    outcome = LineOutcome.FAILED if is_error else LineOutcome.COMPLETED
    return LineResult(number, outcome, text.encode(), LineUsage(3, 1, 2, 0, 40), is_error)


@pytest.fixture
def paths(tmp_path: Path) -> BatchPaths:
    return BatchPaths(tmp_path)


def test_results_count_when_they_are_written(paths: BatchPaths) -> None:
    journal = LineJournal.open("b", paths, 9)

    journal.append([result(1), result(3, '{"a":1}'), result(2, "[]", is_error=True)])
    again = LineJournal.open("b", paths, 9)

    assert b'{}\n{"a":1}\n' == paths.output.read_bytes()
    assert b"[]\n" == paths.errors.read_bytes()
    assert (2, 1) == (again.counts(9).completed, again.counts(9).failed)
    assert LineUsage(9, 3, 6, 0, 120) == again.usage
    assert [True, True, True, False] == [again.has(number) for number in (1, 2, 3, 4)]


@pytest.mark.parametrize("kept", range(0, 140, 7))
def test_a_journal_that_was_cut_anywhere_goes_on_without_a_line_twice(paths: BatchPaths, kept: int) -> None:
    journal = LineJournal.open("b", paths, 9)
    journal.append([result(1, '{"n":1}')])
    journal.append([result(2, '{"n":2}')])
    os.truncate(paths.journal, min(kept, paths.journal.stat().st_size))

    again = LineJournal.open("b", paths, 9)
    again.append([result(number, f'{{"n":{number}}}') for number in (1, 2, 3) if not again.has(number)])

    assert [b'{"n":1}', b'{"n":2}', b'{"n":3}'] == paths.output.read_bytes().splitlines()
    assert 3 == LineJournal.open("b", paths, 9).counts(9).completed


def test_what_stands_behind_the_last_result_that_counts_is_cut_off(paths: BatchPaths) -> None:
    LineJournal.open("b", paths, 9).append([result(1)])
    with paths.output.open("ab") as file:
        file.write(b'{"torn":')

    LineJournal.open("b", paths, 9)

    assert b"{}\n" == paths.output.read_bytes()


def test_a_record_whose_result_is_missing_does_not_count(paths: BatchPaths) -> None:
    journal = LineJournal.open("b", paths, 9)
    journal.append([result(1)])
    journal.append([result(2)])
    os.truncate(paths.output, 3)

    again = LineJournal.open("b", paths, 9)

    assert [True, False] == [again.has(1), again.has(2)]


def test_a_record_that_was_changed_ends_the_journal(paths: BatchPaths) -> None:
    journal = LineJournal.open("b", paths, 9)
    journal.append([result(1)])
    journal.append([result(2)])
    head, first, second = paths.journal.read_bytes().splitlines(keepends=True)
    paths.journal.write_bytes(head + first.replace(b"[1,", b"[4,") + second)

    assert 0 == LineJournal.open("b", paths, 9).counts(9).done


def test_a_full_disk_leaves_what_was_there_and_is_tried_again(
    paths: BatchPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = LineJournal.open("b", paths, 9)
    journal.append([result(1)])
    write = os.pwrite

    def full(descriptor: int, data: memoryview, at: int) -> int:
        write(descriptor, bytes(data)[:1], at)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(StorageFullError):
            journal.append([result(2)])

    assert b"{}\n" == paths.output.read_bytes()
    journal.append([result(2)])
    assert 2 == LineJournal.open("b", paths, 9).counts(9).completed


def test_the_journal_of_another_batch_or_format_is_refused(paths: BatchPaths) -> None:
    LineJournal.open("b", paths, 9)

    with pytest.raises(StateError, match="format 1 of batch b"):
        LineJournal.open("c", paths, 9)
