"""How the memory of a model reads on a terminal of 80 columns."""

import io

import pytest
from rich.console import Console

from relayd.memory.predict import Prediction, Term
from relayd.ui.explain import Compared, render_memory
from relayd.units import MIB, Bytes

pytestmark = pytest.mark.pure


def mib(count: float) -> Bytes:
    return Bytes(int(count * MIB))


PREDICTION = Prediction(
    (
        Term("embedding weights", "cpu", mib(100), "tensor table", "model", "measured"),
        Term("layer weights", "cuda0", mib(1000.5), "tensor table", "model", "measured"),
        Term("KV cache", "cuda0", mib(64), "4096 cells x 1 of K f16 and V f16", "context"),
    )
)
COMPARED = (
    Compared("cuda0", "model", mib(1000.5), 1000),
    Compared("cuda0", "context", mib(64), 60),
    Compared("cpu", "model", mib(100), None),
)


def shown(width: int) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None)
    console.print(render_memory("a model", PREDICTION, COMPARED, ["A note."]))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_terms_add_up_on_each_device() -> None:
    lines = shown(100)

    assert "layer weights      cuda0  0.98  measured  tensor table" in lines
    assert "total              cuda0  1.04" in lines
    assert "total              cpu    0.10" in lines


def test_the_engines_number_stands_beside_the_predicted_one() -> None:
    lines = shown(100)

    assert "model      cuda0   1000 MiB   1000 MiB  equal" in lines
    assert "context    cuda0     64 MiB     60 MiB  +4.0 MiB" in lines
    assert "model      cpu      100 MiB  not asked" in lines
    assert "A note." == lines[-1]


def test_80_columns_are_enough() -> None:
    assert all(len(line) <= 80 for line in shown(80))
