"""What the last release wrote is read as this one writes it."""

from typing import Any

import pytest

from relayd.config.locate import KeyPath
from relayd.config.migrate import migrated, migrated_written

pytestmark = pytest.mark.pure

BAKED = [
    *("--gpu-layers", "49", "--device", "CUDA0,CUDA1", "--split-mode", "layer"),
    *("--tensor-split", "20.5,28.5"),
    *("--n-cpu-moe", "12", "--cache-type-k", "q8_0", "--cache-type-v", "q8_0", "--flash-attn", "on"),
    *("--batch-size", "2048", "--ubatch-size", "512", "--no-kv-unified"),
]
"""What `recommend --write` of the last release put into `args`."""


def place(path: KeyPath) -> str:
    return f"relay.toml:{'.'.join(map(str, path))}"


def test_a_placement_that_was_written_as_flags_is_read_as_a_placement() -> None:
    (model,) = migrated_written({"model": [{"name": "m", "fit": False, "args": BAKED}]})["model"]

    assert {
        "name": "m",
        "fit": "plan",
        "placement": {
            "gpu_layers": 49,
            "devices": ["CUDA0", "CUDA1"],
            "shares": [20.5, 28.5],
            "experts_on_cpu": 12,
            "cache_type_k": "q8_0",
            "cache_type_v": "q8_0",
            "flash_attention": True,
            "batch": 2048,
            "micro_batch": 512,
            "unified": False,
        },
    } == model


@pytest.mark.parametrize(
    "args",
    [
        ["--top-k", "20"],
        ["--gpu-layers", "all"],
        ["--split-mode", "row"],
        ["--gpu-layers"],
        ["--tensor-split", "a,b"],
        [7],
    ],
)
def test_flags_that_were_never_written_stay_as_they_are(args: list[Any]) -> None:
    assert {"model": [{"args": args}]} == migrated_written({"model": [{"args": args}]})


def test_the_cpu_alone_is_an_empty_list_of_devices() -> None:
    (model,) = migrated_written({"model": [{"args": ["--device", "none", "--kv-unified"]}]})["model"]

    assert {"placement": {"devices": [], "unified": True}} == model


def test_what_is_written_now_loses_only_its_number() -> None:
    now = {"model": [{"args": ["--gpu-layers", "49"], "fit": "plan"}]}

    assert now == migrated_written({"schema": 2, **now})


@pytest.mark.parametrize("data", [{}, {"model": 3}, {"model": ["x"]}])
def test_what_is_wrong_is_left_to_the_check(data: dict[str, Any]) -> None:
    assert data == migrated_written(data)
    assert (data, []) == migrated(data, place)


def test_a_boolean_for_fit_is_read_for_one_release_with_a_warning() -> None:
    data, warnings = migrated({"model": [{"fit": True}, {"fit": False}, {"fit": "plan"}]}, place)

    assert ["engine", "plan", "plan"] == [model["fit"] for model in data["model"]]
    assert [
        'relay.toml:model.0.fit: fit = true is now written fit = "engine"; the next release refuses it',
        'relay.toml:model.1.fit: fit = false is now written fit = "plan"; the next release refuses it',
    ] == warnings


def test_flags_of_an_operator_stay_flags() -> None:
    data = {"model": [{"args": BAKED}]}

    assert (data, []) == migrated(data, place)
