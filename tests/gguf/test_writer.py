"""What is written can be read again, by us and by the gguf package."""

from pathlib import Path

import gguf
import pytest

from relayd.gguf.metadata import ArrayInfo, ModelMetadata, Tensor, Value
from relayd.gguf.reader import read_metadata
from relayd.gguf.writer import write_sparse
from relayd.units import Bytes

pytestmark = pytest.mark.system

VALUES: dict[str, Value] = {
    "novelty.block_count": 2,
    "novelty.scale": 0.5,
    "novelty.causal": True,
    "novelty.kind": "naïve",
    "novelty.signed": (3, -1),
    "novelty.flags": (True, False),
    "tokenizer.ggml.tokens": ArrayInfo(8, 32000),
}
TENSORS = (Tensor("token_embd.weight", (256, 32000), 12, 0), Tensor("output_norm.weight", (250,), 0, 0))


def test_a_written_header_reads_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    size = write_sparse(file, ModelMetadata("novelty", VALUES, TENSORS, Bytes(0)))
    again = read_metadata(file)

    assert 32000 == again.n_vocab
    kept = {key: value for key, value in VALUES.items() if not key.startswith("tokenizer.")}
    assert kept.items() <= again.values.items()
    assert [(one.name, one.shape, one.type_id) for one in TENSORS] == [
        (one.name, one.shape, one.type_id) for one in again.tensors
    ]
    assert size == again.file_bytes == file.stat().st_size


def test_the_gguf_package_reads_it_too(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    write_sparse(file, ModelMetadata("novelty", VALUES, TENSORS, Bytes(0)))
    reader = gguf.GGUFReader(file)

    assert ["token_embd.weight", "output_norm.weight"] == [tensor.name for tensor in reader.tensors]
    assert [3, -1] == reader.fields["novelty.signed"].contents()


def test_weights_take_no_space(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    huge = Tensor("token_embd.weight", (8192, 1_000_000), 1, 0)
    size = write_sparse(file, ModelMetadata("novelty", {}, (huge,), Bytes(0)))

    assert huge.nbytes < size
    assert file.stat().st_blocks * 512 < 1 << 20
