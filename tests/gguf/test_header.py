"""Headers that are wrong: each is refused, with the place and the reason; and the largest that are right."""

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.errors import ModelFileError
from relayd.gguf import ArrayInfo
from relayd.gguf.header import read_header
from relayd.units import GIB, MIB
from tests.fuzz import headers
from tests.fuzz.gguf import fuzz
from tests.fuzz.headers import Header, TensorLine, header

pytestmark = pytest.mark.system

TERABYTE = 1024 * GIB

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write bytes, extended to `size` by a hole."""

    def write(data: bytes | Header, size: int = 0) -> Path:
        path = tmp_path / "model.gguf"
        path.write_bytes(data.data if isinstance(data, Header) else data)
        if size:
            os.truncate(path, size)
        return path

    return write


def counts(tensors: int, keys: int, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


def array(kind: int, length: int) -> Header:
    """Return a header that ends with an array which claims a length and holds nothing."""
    made = header([("a", headers.ARRAY, (kind, []))])
    made.data[-8:] = struct.pack("<Q", length)
    return made


def string(length: int) -> Header:
    made = header([("a", headers.STRING, "")])
    made.data[-8:] = struct.pack("<Q", length)
    return made


def table(*lines: TensorLine) -> Header:
    return header([], lines)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "byte 0: the first eight bytes needs 8 bytes of file, it has 0"),
        (b"GGUF\3\0", "byte 0: the first eight bytes needs 8 bytes of file, it has 6"),
        (b"PK\3\4" * 8, r"byte 0: b'PK\\x03\\x04' at its beginning: expected b'GGUF'"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "the file is big-endian: expected a little-endian one"),
        (counts(0, 0, version=1), "version 1: expected 2 or 3"),
        (counts(0, 0, version=4), "version 4: expected 2 or 3"),
        (counts(0, 0, version=0), "version 0: expected 2 or 3"),
        (counts(1, 0), "byte 8: 1 tensors: the 8 bytes left cannot hold them"),
        (counts(0, 9)[:-4], "byte 16: the number of keys needs 24 bytes of file, it has 20"),
        (counts(0, 1) + bytes(12), "byte 16: 1 keys: the 12 bytes left cannot hold them"),
        (header([("a", 13, "")]), r"byte \d+: a has type 13: expected one from 0 to 12"),
        (header([("a", headers.ARRAY, (headers.ARRAY, []))]), "a is an array of arrays"),
        (header([("a", headers.ARRAY, (99, []))]), "a has type 99"),
        (header([("a", headers.UINT8, 1)] * 2), "key 'a' is there twice"),
        (header([("", headers.UINT8, 1)]), "a key is empty"),
        (header([(b"\xff", headers.UINT8, 1)]), "expected printable UTF-8"),
        (header([("\x1b]0;x\a", headers.UINT8, 1)]), r"a key is '\\x1b\]0;x\\x07': expected printable UTF-8"),
        (header([("general.alignment", headers.UINT32, 24)]), "alignment is 24: expected a power of two"),
        (header([("general.alignment", headers.UINT32, 0)]), "alignment is 0: expected a power of two"),
        (header([("general.alignment", headers.STRING, "32")]), "alignment is '32'"),
        (table(TensorLine(name="x" * 64)), "64 bytes in a tensor's name: expected at most 63"),
        (table(TensorLine(shape=(1,) * 5)), "tensor a has 5 dimensions: expected at most 4"),
        (table(TensorLine(type_id=31)), "tensor a has type 31, which this relayd does not know"),
        (
            table(TensorLine(shape=(33,), type_id=2)),
            r"tensor a has shape \[33\]: expected rows of whole Q4_0",
        ),
        (table(TensorLine(shape=(), type_id=2)), r"tensor a has shape \[\]"),
        (table(TensorLine(shape=(0, 2**63))), r"tensor a has shape \[0, 9223372036854775808\]"),
        (table(TensorLine(offset=32)), "tensor a has offset 32: expected 0"),
        (table(TensorLine(), TensorLine("b", offset=33)), "tensor b has offset 33: expected 32"),
        (table(TensorLine(), TensorLine(offset=32)), "tensor a is there twice"),
        (string(2**64 - 1), "bytes in a: expected at most 1048576"),
        (string(7), "7 bytes in a: the 0 bytes left cannot hold them"),
        (array(headers.STRING, 2**60), "strings in a: expected at most"),
        (array(headers.FLOAT64, 9), "9 items in a: the 0 bytes left cannot hold them"),
    ],
)
def test_what_is_wrong_is_named(write: Write, data: bytes | Header, problem: str) -> None:
    with pytest.raises(ModelFileError, match=problem) as refused:
        read_header(write(data))

    assert "model.gguf: byte " in refused.value.message


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (counts(2**63, 0), "9223372036854775808 tensors: expected at most 250000"),
        (counts(0, 65_537), "65537 keys: expected at most 65536"),
        (string(MIB + 1), "1048577 bytes in a: expected at most 1048576"),
        (header([("k" * 1025, headers.UINT8, 1)]), "1025 bytes in a key: expected at most 1024"),
        (array(headers.STRING, 10**9), "a needs a header of 67108870 bytes: expected at most 67108864"),
        (array(headers.FLOAT64, 10**9), "a needs a header of 8000000094 bytes: expected at most 67108864"),
        (
            table(TensorLine(shape=(2**60, 2**3))),
            "the tensors' data needs 36893488147419103360 bytes of file",
        ),
    ],
)
def test_r55_limits_hold_where_the_file_is_large_enough_for_the_lie(
    write: Write, data: bytes | Header, problem: str
) -> None:
    with pytest.raises(ModelFileError, match=problem):
        read_header(write(data, size=TERABYTE))


def test_a_string_that_leaves_the_file_is_refused_among_many(write: Write) -> None:
    made = header([("a", headers.ARRAY, (headers.STRING, ["x", "yy", "zzz"]))])
    made.data[-11:-3] = struct.pack("<Q", 2**64 - 1)

    with pytest.raises(ModelFileError, match=r"byte \d+: a needs \d+ bytes of file"):
        read_header(write(made))


def test_values_may_not_fill_the_memory(write: Write) -> None:
    strings = header((f"k{number}", headers.STRING, "x" * MIB) for number in range(5))

    with pytest.raises(ModelFileError, match="expected at most 16777216"):
        read_header(write(strings))


def test_data_that_is_cut_short_tells_what_is_needed_and_what_is_there(write: Write) -> None:
    made = table(TensorLine("a", (64,)), TensorLine("b", (64,), 0, 256))
    begin = -(-len(made.data) // 32) * 32
    needed = begin + 512

    with pytest.raises(
        ModelFileError, match=f"data needs {needed} bytes of file, it has {needed - 1}"
    ) as cut:
        read_header(write(made, size=needed - 1))

    assert "Fetch it again" in cut.value.remedy
    assert needed == read_header(write(made, size=needed)).file_bytes


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path, problem in (
        (tmp_path, "is not a regular file"),
        (tmp_path / "pipe", "is not a regular file"),
        (tmp_path / "gone", "cannot be read: No such file"),
    ):
        with pytest.raises(ModelFileError, match=problem):
            read_header(path)


def test_text_that_is_no_utf8_is_shown_as_well_as_it_can_be(write: Write) -> None:
    made = header([("general.name", headers.STRING, b"caf\xe9")])

    assert "caf\ufffd" == read_header(write(made)).values["general.name"]


@pytest.mark.parametrize("version", [2, 3])
def test_both_versions_that_the_engine_reads_are_read(write: Write, version: int) -> None:
    made = header([("llama.block_count", headers.UINT32, 2)], version=version)

    assert {"general.architecture": "llama", "llama.block_count": 2} == read_header(write(made)).values


def test_arrays_up_to_65536_items_are_read_and_longer_ones_are_counted(write: Write) -> None:
    made = header(
        [
            ("read", headers.ARRAY, (headers.UINT8, [7] * 65_536)),
            ("counted", headers.ARRAY, (headers.UINT8, [7] * 65_537)),
            ("strings", headers.ARRAY, (headers.STRING, ["a", "", "b" * 300])),
            ("none", headers.ARRAY, (headers.STRING, [])),
            ("after", headers.BOOL, True),
        ]
    )

    values = read_header(write(made)).values

    assert (7,) * 65_536 == values["read"]
    assert ArrayInfo(headers.UINT8, 65_537) == values["counted"]
    assert ArrayInfo(headers.STRING, 3, 300) == values["strings"]
    assert ArrayInfo(headers.STRING, 0) == values["none"]
    assert values["after"] is True


def test_r55_a_large_vocabulary_is_skipped_in_no_time(write: Write) -> None:
    tokens = b"".join(struct.pack("<Q", 8) + b"%08d" % number for number in range(450_000))
    made = array(headers.STRING, 450_000)
    path = write(bytes(made.data) + tokens)

    def seconds(act: Callable[[], object]) -> float:
        started = time.process_time()
        act()
        return time.process_time() - started

    assert ArrayInfo(headers.STRING, 450_000, 8) == read_header(path).values["a"]
    skipping = min(seconds(lambda: read_header(path)) for _ in range(3))
    assert skipping < seconds(lambda: [bytes(tokens[at : at + 16]) for at in range(0, len(tokens), 16)])


def test_r56_nothing_but_a_refusal_comes_out_of_damaged_files(tmp_path: Path) -> None:
    result = fuzz(seed=2, cases=2_000, folder=tmp_path)

    assert 2_000 == result.outcomes.total()
    assert len(result.outcomes) > 10
    assert result.slowest_seconds < 2
