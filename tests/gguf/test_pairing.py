"""Which projector serves which model, by names and by what the files contain."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from relayd.gguf import find_companions
from relayd.gguf.kinds import Kind
from relayd.gguf.pairing import Traits, pair, traits_of
from tests.fuzz import headers
from tests.fuzz.headers import TensorLine, header

G4, G12 = Traits(Kind.MODEL, "gemma3", 2560), Traits(Kind.MODEL, "gemma3", 3840)
P4, P12 = (Traits(Kind.PROJECTOR, width=width, family="gemma3") for width in (2560, 3840))
MODEL = "gemma-3-4b-it-Q4_0.gguf"
NOT_KNOWN = Traits(Kind.PROJECTOR)


def paired(model: str, folder: Mapping[str, Traits | None]) -> str:
    found = pair(model, folder, folder.get)
    return " ".join((*found.projectors, *(f"? {doubt}" for doubt in found.doubts)))


@pytest.mark.pure
@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ({"mmproj-model-f16-4B.gguf": P4}, "mmproj-model-f16-4B.gguf"),
        (
            {"mmproj-model-f16-4B.gguf": P4, "mmproj-model-f16-12B.gguf": P12, "g12.gguf": G12},
            "mmproj-model-f16-4B.gguf",
        ),
        ({"mmproj-F16.gguf": P12}, ""),
        ({"mmproj-gemma-3-4b-it-f16.gguf": P12}, ""),
        ({"mmproj-F16.gguf": NOT_KNOWN}, "mmproj-F16.gguf"),
        ({"mmproj-F16.gguf": None}, ""),
        ({"eyes.gguf": P4, "g12.gguf": G12}, "eyes.gguf"),
        (
            {"mmproj-BF16.gguf": P4, "mmproj-Q8_0.gguf": P4, "g12.gguf": G12},
            "mmproj-Q8_0.gguf mmproj-BF16.gguf",
        ),
        ({"mmproj-other-4b-f16.gguf": P4, "other-4b-Q8_0.gguf": G4}, ""),
        ({"mmproj.gguf": Traits(Kind.PROJECTOR, width=2560, family="qwen2vl_merger"), "g12.gguf": G12}, ""),
        ({"gemma-3-4b-it-Q8_0.gguf": G4, "eyes.gguf": P4}, "eyes.gguf"),
        (
            {"medgemma-4b.gguf": G4, "eyes.gguf": P4},
            f"? eyes.gguf fits {MODEL} and medgemma-4b.gguf alike: name it for one, like mmproj-{MODEL}",
        ),
        (
            {"left.gguf": P4, "right.gguf": P4},
            f"? left.gguf and right.gguf fit {MODEL} alike: keep one, or name it in the model's line",
        ),
    ],
)
def test_a_projector_goes_with_the_models_of_its_width(
    beside: dict[str, Traits | None], expected: str
) -> None:
    model = "gemma-3-4b-it-Q4_0.gguf"
    assert expected == paired(model, {model: G4, **beside})


@pytest.mark.system
@pytest.mark.parametrize(
    ("said", "tensors", "width"),
    [
        (2560, [TensorLine("mm.input_projection.weight", (2560, 1152))], 2560),
        (768, [TensorLine("mm.0.bias", (1024,)), TensorLine("mm.2.bias", (4096,))], 4096),
        (768, [TensorLine("v.blk.0.attn_q.weight", (8, 8))], 768),
        (0, [TensorLine("resampler.query", (8, 8))], 0),
    ],
)
def test_the_width_is_that_of_the_vectors_and_not_of_the_tower(
    tmp_path: Path, said: int, tensors: list[TensorLine], width: int
) -> None:
    values: list[tuple[str, int, headers.Payload]] = [
        ("clip.vision.projection_dim", headers.UINT32, said),
        ("clip.projector_type", headers.STRING, "mlp"),
    ]
    offset, lines = 0, []
    for one in tensors:
        lines.append(TensorLine(one.name, one.shape, 0, offset))
        offset += 4 * one.shape[0] * (one.shape[1] if len(one.shape) > 1 else 1)
    file = tmp_path / "eyes.gguf"
    file.write_bytes(header(values, lines, architecture="clip").data + bytes(offset + 64))
    assert Traits(Kind.PROJECTOR, "", width, "mlp") == traits_of(file)


@pytest.mark.system
def test_what_cannot_be_read_beside_a_model_serves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(header().data)
    (tmp_path / "mmproj-a.gguf").write_bytes(b"GGUF")
    (tmp_path / "mtp-a.gguf").mkdir()
    assert ((), (), ()) == (
        (found := find_companions(tmp_path / "a.gguf")).projectors, found.drafts, found.doubts,
    )  # fmt: skip
