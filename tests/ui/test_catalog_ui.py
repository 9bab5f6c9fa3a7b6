import io

import pytest
from rich.console import Console, RenderableType

from relayd.catalog.entry import CatalogEntry, Dimensions, FactSources, ModelFile
from relayd.ui.catalog import model_page, models_table, show_context, show_count
from relayd.units import Bytes

pytestmark = pytest.mark.pure

MODEL = CatalogEntry(
    name="mistral-small-3.2-24b-instruct-2506",
    title="Mistral Small",
    license="cc-by-nc-4.0",
    gated=True,
    capabilities=("chat", "code", "reasoning", "vision", "tools"),
    context=131072,
    parameters=671_000_000_000,
    active_parameters=37_600_000_000,
    dimensions=Dimensions(
        architecture="llama",
        n_layer=3,
        n_embd=8,
        n_head=2,
        n_head_kv=1,
        head_dim_k=4,
        head_dim_v=4,
        n_ff=(16, 16, 32),
        n_vocab=64,
        tied=True,
    ),
    files=(
        ModelFile(
            quant="UD-Q4_K_XL",
            bytes=Bytes(400 << 30),
            exact=True,
            repo="o/r",
            file="f.gguf",
            parts=9,
            source="seen",
        ),
        ModelFile(quant="F16", bytes=Bytes(1300 << 30), source="computed"),
    ),
    sources=FactSources(license=("card", "list")),
    origin="own",
)


def shown(renderable: RenderableType, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(renderable)
    return out.getvalue()


def test_the_longest_line_fits_into_100_columns_with_its_name_whole() -> None:
    text = shown(models_table([MODEL]))
    assert max(map(len, text.splitlines())) <= 100
    assert "mistral-small-3.2-24b-instruct-2506* " in text
    assert "671B-A37.6B  Q4-F16" in text


def test_marks_are_explained_below_the_table() -> None:
    lines = [line.strip() for line in shown(models_table([MODEL])).splitlines()]
    assert ["* from your own files", "! the publisher asks to accept the licence first"] == lines[-2:]


def test_a_page_tells_exact_sizes_from_estimates() -> None:
    lines = [line.split() for line in shown(model_page(MODEL), 200).splitlines()]
    assert "UD-Q4_K_XL 400 GiB 5.12 exact o/r/f.gguf (9 parts)".split() in lines
    assert "F16 1300 GiB 16.64 estimate".split() in lines
    assert ["license", "card;", "also", "list"] in lines
    assert "n_ff 16 x 2, 32 x 1".split() in lines


@pytest.mark.parametrize(
    ("count", "text"), [(268_000_000, "0.27B"), (8_190_000_000, "8.2B"), (235_000_000_000, "235B")]
)
def test_weights_are_counted_in_billions(count: int, text: str) -> None:
    assert text == show_count(count)


@pytest.mark.parametrize(("tokens", "text"), [(512, "512"), (131072, "128k"), (10_485_760, "10240k")])
def test_contexts_are_counted_in_thousands(tokens: int, text: str) -> None:
    assert text == show_context(tokens)
