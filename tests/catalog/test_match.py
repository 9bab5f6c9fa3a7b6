import pytest

from relayd.catalog.entry import CatalogEntry, Dimensions, ModelFile
from relayd.catalog.match import find_entry, identify
from relayd.errors import UsageError
from relayd.gguf.metadata import ModelMetadata, Value
from relayd.units import Bytes

pytestmark = pytest.mark.pure

SHAPE = Dimensions(
    architecture="qwen2",
    n_layer=28,
    n_embd=3584,
    n_head=28,
    n_head_kv=4,
    head_dim_k=128,
    head_dim_v=128,
    n_ff=18944,
    n_vocab=152064,
    tied=False,
    mtp_layers=1,
)


def model(name: str, *aliases: str, **quant_aliases: str) -> CatalogEntry:
    files = tuple(ModelFile(quant=quant, bytes=Bytes(9), source="s") for quant in ("Q4_K_M", "Q8_0"))
    return CatalogEntry(
        name=name,
        title=name.title(),
        license="mit",
        capabilities=("chat",),
        aliases=aliases,
        quant_aliases=quant_aliases,
        dimensions=SHAPE,
        files=files,
    )


MODELS = (
    model("qwen2.5-7b-instruct", "qwen2.5-7b"),
    model("qwen2.5-coder-7b-instruct"),
    model("mistral-7b", tiny="Q8_0"),
)


def header(**general: Value) -> ModelMetadata:
    values: dict[str, Value] = {"qwen2.block_count": 28, "qwen2.embedding_length": 3584}
    values |= {f"general.{key}": value for key, value in general.items()}
    return ModelMetadata("qwen2", values, (), Bytes(0))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("qwen2.5-7b-instruct", "qwen2.5-7b-instruct"),
        ("Qwen2.5-7B", "qwen2.5-7b-instruct"),
        ("qwen2.5-c", "qwen2.5-coder-7b-instruct"),
        (" MISTRAL ", "mistral-7b"),
    ],
)
def test_a_model_is_found_by_name_alias_or_the_beginning_of_one(text: str, name: str) -> None:
    assert name == find_entry(MODELS, text).entry.name


def test_an_exact_name_wins_over_longer_ones() -> None:
    models = (*MODELS, model("mistral-7b-v2"))
    assert "mistral-7b" == find_entry(models, "mistral-7b").entry.name


def test_a_quantization_after_a_colon_is_spelled_as_the_catalogue_does() -> None:
    match = find_entry(MODELS, "mistral:q8_0")
    assert "Q8_0" == match.quant
    assert match.file == MODELS[2].files[1]
    assert find_entry(MODELS, "mistral").file is None


def test_an_alias_can_mean_a_quantization() -> None:
    assert "Q8_0" == find_entry(MODELS, "tiny").quant
    assert "Q4_K_M" == find_entry(MODELS, "tiny:Q4_K_M").quant


def test_a_beginning_of_several_models_is_an_error_that_lists_them() -> None:
    with pytest.raises(UsageError) as caught:
        find_entry(MODELS, "qwen")
    assert "2 models" in caught.value.message
    assert "qwen2.5-7b-instruct, qwen2.5-coder-7b-instruct" in caught.value.remedy


@pytest.mark.parametrize("text", ["7b-instruct", "llama", "", ":Q8_0"])
def test_an_unknown_name_is_an_error_that_helps(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_entry(MODELS, text)
    assert caught.value.remedy


def test_an_unknown_quantization_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        find_entry(MODELS, "mistral:Q2_K")
    assert "Q4_K_M, Q8_0" in caught.value.remedy


@pytest.mark.parametrize(
    "general",
    [
        {"name": "Qwen2.5 7B Instruct"},
        {"basename": "Qwen2.5", "size_label": "7B", "finetune": "Instruct"},
        {"name": "something else", "basename": "qwen2.5", "size_label": "7B"},
    ],
)
def test_a_file_is_known_by_its_shape_and_name(general: dict[str, Value]) -> None:
    assert MODELS[0] == identify(MODELS, header(**general))


def test_a_file_may_hold_the_layers_of_multi_token_prediction() -> None:
    metadata = header(name="Qwen2.5 7B")
    values = dict(metadata.values) | {"qwen2.block_count": 29}
    assert MODELS[0] == identify(MODELS, ModelMetadata("qwen2", values, (), Bytes(0)))


@pytest.mark.parametrize("general", [{}, {"name": "A fine-tune of it"}])
def test_a_shape_without_a_name_is_no_model(general: dict[str, Value]) -> None:
    assert identify(MODELS, header(**general)) is None


def test_a_name_with_another_shape_is_no_model() -> None:
    values: dict[str, Value] = {"general.name": "Qwen2.5 7B", "qwen2.block_count": 30}
    assert identify(MODELS, ModelMetadata("qwen2", values, (), Bytes(0))) is None
