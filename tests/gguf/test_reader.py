"""Models as a whole: the same as the gguf package reads, in one file or in many."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from relayd.errors import ModelFileError
from relayd.gguf import ArrayInfo, ModelMetadata, Tensor, read_metadata
from relayd.gguf.metadata import ITEMS_READ
from tests.fuzz import headers
from tests.fuzz.headers import TensorLine, header

pytestmark = pytest.mark.system

DEMO = Path(__file__).parents[2] / "relayd" / "demo.gguf"

Write = Callable[[gguf.GGUFWriter], None]


def everything(writer: gguf.GGUFWriter) -> None:
    """Write a value of every type, and a tensor of every type that can be made."""
    for name in "uint8 int8 uint16 int16 uint32 int32 uint64 int64 float32 float64".split():
        getattr(writer, f"add_{name}")(f"of.{name}", 7)
    writer.add_int64("of.negative", -(2**60))
    writer.add_bool("of.bool", True)
    writer.add_string("of.string", "naïve ☕ 模型")
    writer.add_array("of.numbers", [1, 2, -3])
    writer.add_array("of.floats", [0.5, 1.5])
    writer.add_array("of.bools", [True, False])
    writer.add_array("of.strings", ["a", "", "ccc"])
    for kind, (block, block_bytes) in gguf.GGML_QUANT_SIZES.items():
        if kind != gguf.GGMLQuantizationType.Q8_1:
            rows = np.zeros((3, 2 * block_bytes), dtype=np.uint8)
            writer.add_tensor(f"{kind.name}.{block}", rows, raw_shape=rows.shape, raw_dtype=kind)


def dense(writer: gguf.GGUFWriter) -> None:
    writer.add_block_count(3)
    writer.add_head_count_kv([4, 0, 4])
    writer.add_token_list([f"token{number}" for number in range(70_000)])
    writer.add_token_scores([0.0] * 70_000)
    for number, sizes in enumerate([(7, 64), (5,), (2, 3, 32), (2, 2, 2, 8)]):
        writer.add_tensor(f"blk.{number}.weight", np.ones(sizes, dtype=np.float32))


def aligned(writer: gguf.GGUFWriter) -> None:
    writer.add_custom_alignment(256)
    writer.add_tensor("a", np.ones((3, 5), dtype=np.float16))
    writer.add_tensor("b", np.ones(11, dtype=np.int8))


def without_tensors(writer: gguf.GGUFWriter) -> None:
    writer.add_vocab_size(9)


def make(path: Path, fill: Write) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def as_we_keep_it(field: gguf.ReaderField) -> Any:
    contents = field.contents()
    if field.types[0] != gguf.GGUFValueType.ARRAY:
        return contents
    if field.types[-1] == gguf.GGUFValueType.STRING:
        return ArrayInfo(int(field.types[-1]), len(contents), max(len(text.encode()) for text in contents))
    if len(contents) > ITEMS_READ:
        return ArrayInfo(int(field.types[-1]), len(contents))
    return tuple(contents)


def assert_same(path: Path, ours: ModelMetadata) -> None:
    theirs = gguf.GGUFReader(path)
    begin = theirs.data_offset

    assert {
        name: as_we_keep_it(field) for name, field in theirs.fields.items() if not name.startswith("GGUF.")
    } == ours.values
    assert [
        (one.name, tuple(one.shape), int(one.tensor_type), one.data_offset - begin, one.n_bytes)
        for one in theirs.tensors
    ] == [(one.name, one.shape, one.type_id, one.offset, one.nbytes) for one in ours.tensors]
    assert path.stat().st_size == ours.file_bytes


@pytest.mark.parametrize("fill", [everything, dense, aligned, without_tensors])
def test_a_model_reads_as_the_gguf_package_reads_it(tmp_path: Path, fill: Write) -> None:
    path = make(tmp_path / "model.gguf", fill)

    assert_same(path, read_metadata(path))


def test_the_demo_model_reads_as_the_gguf_package_reads_it() -> None:
    assert_same(DEMO, read_metadata(DEMO))


def test_the_demo_model_is_read_in_milliseconds() -> None:
    def seconds() -> float:
        started = time.process_time()
        read_metadata(DEMO)
        return time.process_time() - started

    assert min(seconds() for _ in range(5)) < 0.02


@pytest.mark.parametrize("value", ["", "x" * 65, "a b", "\x1b[2J"])
def test_a_model_without_a_proper_architecture_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(header([("general.architecture", headers.STRING, value)], architecture="").data)

    with pytest.raises(ModelFileError, match=r"general\.architecture is '.*: expected a name"):
        read_metadata(path)


def test_an_imatrix_or_another_file_without_an_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(header(architecture="").data)

    with pytest.raises(ModelFileError, match=r"model\.gguf: general\.architecture is None"):
        read_metadata(path)


def part(
    folder: Path,
    number: int,
    count: int,
    *,
    tensor: str = "",
    told: int | None = None,
    total: int | None = None,
) -> Path:
    """Write one part, with one tensor; `told` and `total` are what it claims, if that is not the truth."""
    values: list[tuple[str, int, headers.Payload]] = [
        ("split.no", headers.UINT32, number - 1 if told is None else told),
        ("split.count", headers.UINT32, count),
        ("split.tensors.count", headers.INT32, count if total is None else total),
    ]
    line = TensorLine(tensor or f"blk.{number}.a")
    made = header(values, [line], architecture="llama" if number == 1 else "")
    path = folder / f"big-{number:05d}-of-{count:05d}.gguf"
    path.write_bytes(bytes(made.data) + bytes(64))
    return path


def test_parts_are_read_together(tmp_path: Path) -> None:
    paths = [part(tmp_path, number, 3) for number in (1, 2, 3)]

    metadata = read_metadata(paths[0])

    assert tuple(Tensor(f"blk.{number}.a", (8,), 0, 0) for number in (1, 2, 3)) == metadata.tensors
    assert sum(path.stat().st_size for path in paths) == metadata.file_bytes
    assert "llama" == metadata.architecture


def test_parts_as_the_gguf_package_writes_them_are_read(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "big.gguf", "llama", split_max_tensors=2)
    writer.add_block_count(1)
    for number in range(5):
        writer.add_tensor(f"t{number}", np.ones((4, 8), dtype=np.float32))
    writer.write_header_to_file(path=tmp_path / "big.gguf")
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    metadata = read_metadata(tmp_path / "big-00001-of-00003.gguf")

    assert ["t0", "t1", "t2", "t3", "t4"] == [tensor.name for tensor in metadata.tensors]
    assert 1 == metadata.whole("block_count")


def test_missing_parts_are_named(tmp_path: Path) -> None:
    first = part(tmp_path, 1, 4)
    part(tmp_path, 2, 4)

    with pytest.raises(
        ModelFileError, match=r"first of 4 parts, missing: big-00003-of-00004\.gguf and 1 more"
    ):
        read_metadata(first)


def test_a_later_part_tells_the_first(tmp_path: Path) -> None:
    second = part(tmp_path, 2, 3)

    with pytest.raises(ModelFileError, match="is part 2 of 3") as refused:
        read_metadata(second)

    assert "Give big-00001-of-00003.gguf instead." == refused.value.remedy


def test_a_first_part_that_was_renamed_is_refused(tmp_path: Path) -> None:
    renamed = part(tmp_path, 1, 3).rename(tmp_path / "big.gguf")

    with pytest.raises(ModelFileError, match="expected a name ending with -00001-of-00003"):
        read_metadata(renamed)


def test_parts_of_different_models_are_refused(tmp_path: Path) -> None:
    first = part(tmp_path, 1, 2)

    part(tmp_path, 2, 2, told=2)
    with pytest.raises(ModelFileError, match="claims to be part 3: expected part 2"):
        read_metadata(first)

    part(tmp_path, 2, 2, tensor="blk.1.a")
    with pytest.raises(ModelFileError, match="a tensor is in two of its parts"):
        read_metadata(first)

    part(tmp_path, 1, 2, total=9)
    part(tmp_path, 2, 2)
    with pytest.raises(ModelFileError, match="its parts hold 2 tensors: expected 9"):
        read_metadata(first)


@pytest.mark.parametrize("value", [("split.count", headers.STRING, "2"), ("split.count", headers.INT32, -2)])
def test_split_counts_that_are_no_counts_are_refused(
    tmp_path: Path, value: tuple[str, int, headers.Payload]
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(header([value]).data)

    with pytest.raises(ModelFileError, match=r"split\.count is not a number from 0 up"):
        read_metadata(path)


def test_a_file_without_its_data_may_be_sparse(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(header([], [TensorLine("a", (2**20, 2**14))]).data)
    with path.open("ab") as file:
        file.truncate(2**36 + 4096)

    assert 2**36 == read_metadata(path).tensors[0].nbytes
