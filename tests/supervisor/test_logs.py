"""Files that replicas write and people read."""

import os
from pathlib import Path

import pytest

from relayd.printable import printable
from relayd.supervisor.logs import (
    Line,
    LogReader,
    log_path,
    mark,
    open_log,
    replica_of,
    show_time,
    since,
)
from relayd.supervisor.rotation import rotate

NINE = 1795165200.0
"""2026-11-20T09:00:00Z."""


def texts(path: Path, lines: int | None = None) -> list[str]:
    return [line.text for line in LogReader(path, lines).read(last=True)]


@pytest.mark.system
def test_a_missing_log_has_no_lines(tmp_path: Path) -> None:
    assert [] == texts(tmp_path / "none.log")


@pytest.mark.system
def test_rotated_files_are_read_from_the_oldest_to_the_newest(tmp_path: Path) -> None:
    for number, name in enumerate(("a.log.10", "a.log.9", "a.log.1", "a.log")):
        (tmp_path / name).write_text(f"{number}\n")
    (tmp_path / "a.log.new").write_text("half a copy")
    (tmp_path / "a.log.corrupt-1").write_text("something else")

    assert ["0", "1", "2", "3"] == texts(tmp_path / "a.log")


@pytest.mark.system
def test_old_files_are_not_read_for_lines_that_the_new_ones_hold(tmp_path: Path) -> None:
    (tmp_path / "a.log.2").write_text("old\n" * 3)
    (tmp_path / "a.log.1").write_text("middle\n" * 3)
    (tmp_path / "a.log").write_text("new\n" * 3)

    assert ["new"] * 3 == texts(tmp_path / "a.log", 3)
    assert ["middle"] * 3 + ["new"] * 3 == texts(tmp_path / "a.log", 4)


@pytest.mark.system
def test_a_line_has_the_time_of_its_incarnation_plus_the_engines_own(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("0.00.001.000 I from a life that nothing tells of\n")
    descriptor = open_log(log)
    mark(descriptor, "a#0", 2, NINE)
    os.write(descriptor, b"0.01.500.000 I srv  hello\nno time of its own\n75.00.000.000 I later\n")
    mark(descriptor, "a#0", 3, NINE + 9000)
    os.close(descriptor)

    expected = [None, NINE, NINE + 1.5, NINE + 1.5, NINE + 75 * 60, NINE + 9000]
    assert expected == [line.time for line in LogReader(log).read()]


@pytest.mark.system
def test_the_daemons_own_lines_carry_their_time(tmp_path: Path) -> None:
    log = tmp_path / "relayd.log"
    log.write_text("2026-11-20T09:00:00.000Z INFO    daemon.listening\nTraceback of it\n")

    assert [NINE, NINE] == [line.time for line in LogReader(log).read()]


@pytest.mark.system
def test_a_marker_begins_a_line_also_after_one_that_was_cut_off(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("killed in mid-sen")
    descriptor = open_log(log)
    mark(descriptor, "a#0", 2, NINE)
    os.close(descriptor)

    marker = "relayd: 2026-11-20T09:00:00.000Z a#0 incarnation 2 begins"
    assert ["killed in mid-sen", marker] == texts(log)


@pytest.mark.system
def test_a_reader_goes_on_where_it_stood(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("one\ntw")
    reader = LogReader(log)

    assert [Line(None, "one")] == list(reader.read())
    assert [] == list(reader.read())
    with log.open("a") as file:
        file.write("o\nthree")
    assert [Line(None, "two")] == list(reader.read())
    assert [Line(None, "three")] == list(reader.read(last=True))


@pytest.mark.system
def test_a_reader_misses_nothing_of_two_rotations_between_two_looks(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    descriptor = open_log(log)
    mark(descriptor, "a#0", 1, NINE)
    reader = LogReader(log)
    seen = list(reader.read())
    for number in range(6):
        os.write(descriptor, f"0.00.00{number}.000 line {number}\n".encode() * 2)
        if number in (2, 4):
            assert rotate(log, max_bytes=1, backups=3)
    os.close(descriptor)
    seen += reader.read()

    expected = ["begins", *(str(number) for number in range(6) for _ in range(2))]
    assert expected == [line.text.rpartition(" ")[2] for line in seen]
    assert NINE + 0.005 == pytest.approx(seen[-1].time)


@pytest.mark.system
def test_a_line_keeps_its_time_when_the_file_that_told_it_is_gone(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    descriptor = open_log(log)
    mark(descriptor, "a#0", 1, NINE)
    for _ in range(3):
        assert rotate(log, max_bytes=1, backups=0)
    os.write(descriptor, b"0.02.000.000 I later\n")
    os.close(descriptor)

    goes_on = Line(NINE, "relayd: 2026-11-20T09:00:00.000Z a#0 incarnation 1 goes on, part 4")
    assert [goes_on, Line(NINE + 2, "0.02.000.000 I later")] == list(LogReader(log).read())


@pytest.mark.system
def test_a_log_that_was_deleted_and_made_again_is_read_from_its_begin(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("old and long enough to be told from the new one\n")
    reader = LogReader(log)
    assert 1 == len(list(reader.read()))
    log.unlink()
    assert [] == list(reader.read())
    log.write_text("new, and longer than the old one that was there before it was deleted\n")

    assert ["new"] == [line.text.partition(",")[0] for line in reader.read()]


@pytest.mark.system
def test_what_was_written_after_an_offset_is_returned_also_after_a_truncation(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("old\nnew\n")

    assert "new\n" == since(log, 4)
    log.write_text("fresh\n")
    assert "fresh\n" == since(log, 4000)
    assert "" == since(tmp_path / "none.log", 0)
    assert "" == since(tmp_path, 0)


@pytest.mark.pure
def test_r20_what_the_engine_repeats_of_a_request_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "r.log"
    log.write_text(
        '0.00.094.053 W srv operator(): got exception: {"error":{"message":"unknown architecture: x"}}\n'
        "0.00.095.000 E srv got exception: out of range\n"
    )

    assert [
        "0.00.094.053 W srv operator(): got exception: …",
        "0.00.095.000 E srv got exception: out of range",
    ] == since(log, 0).splitlines()


@pytest.mark.pure
@pytest.mark.parametrize("model", ["m", "org/name", "org__name", "v1.2"])
def test_r38_a_models_log_stays_inside_the_folder_and_names_its_replica(model: str) -> None:
    path = log_path(Path("/logs"), model, 3)

    assert Path("/logs") == path.parent
    assert f"{model}#3" == replica_of(path)
    assert "relayd" == replica_of(Path("/logs/relayd.log"))


@pytest.mark.pure
def test_a_moment_is_written_in_utc() -> None:
    assert "2026-11-20T09:00:00.250Z" == show_time(NINE + 0.25)


@pytest.mark.pure
@pytest.mark.parametrize(
    "attack",
    [
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07",
        "\x1b]52;c;ZXZpbA==\x1b\\",
        "a\rb",
        "\x9b31m",
        "\u202eabc",
        "a\u2028b",
    ],
)
def test_r50_nothing_that_commands_a_terminal_is_printable(attack: str) -> None:
    shown = printable(f"<{attack}>")

    assert shown.isprintable()
    assert shown.startswith("<")
    assert shown.endswith(">")
