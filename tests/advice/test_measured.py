"""Benchmarks of this machine correct what is expected of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from relayd.advice.measured import calibrated, expected
from relayd.hardware import probe
from relayd.planner.budget import Budget, budget
from relayd.planner.processor import Tag
from relayd.planner.simulate import simulate
from relayd.planner.speed import Part, Workload, decode_tokens_per_second

pytestmark = pytest.mark.system

RUN = {"prompt_tokens": 500, "prefill_per_second": 900.0, "decode_per_second": 20.0}


@pytest.fixture
def cpu_only() -> Budget:
    return budget(replace(probe(), gpus=()))


def speed(machine: Budget) -> tuple[float, Tag]:
    """Return what is expected of a model of 1 GB."""
    work = Workload(n_layer=24, weight_bytes=1e9, active_parameters=1e9)
    estimate = decode_tokens_per_second((Part(work, machine.host.processor),)).each
    return estimate.value, estimate.tag


def test_a_run_moves_what_is_expected_of_the_device(cpu_only: Budget, slow_model: Path) -> None:
    slower = calibrated(cpu_only, [{**RUN, "file": str(slow_model)}])
    faster = calibrated(cpu_only, [{**RUN, "file": str(slow_model), "decode_per_second": 900.0}])

    assert speed(slower)[0] < speed(faster)[0]
    assert Tag.CALIBRATED is speed(slower)[1]


def test_what_says_nothing_of_the_device_changes_nothing(
    cpu_only: Budget, tiny_model: Path, slow_model: Path
) -> None:
    useless: list[dict[str, object]] = [
        {**RUN, "file": str(tiny_model)},
        {**RUN, "file": "/gone.gguf"},
        {"file": str(slow_model)},
        {**RUN, "file": str(slow_model), "prompt_tokens": "many"},
    ]

    assert cpu_only == calibrated(cpu_only, useless)


def test_of_several_gpus_nobody_knows_which_one_ran(slow_model: Path) -> None:
    machine = budget(simulate("gpu=4090:24,gpu=4090:24,ram=64"))

    assert machine == calibrated(machine, [{**RUN, "file": str(slow_model)}])


def test_a_run_on_the_cpu_of_a_machine_with_a_gpu_is_not_taken_for_one_of_the_gpu(slow_model: Path) -> None:
    machine = budget(simulate("gpu=4090:24,ram=64"))
    command = ["llama-server", "--device", "none", "--gpu-layers", "0"]

    assert machine == calibrated(machine, [{**RUN, "file": str(slow_model), "command": command}])


def test_what_is_predicted_of_a_run_is_where_its_command_line_put_it(slow_model: Path) -> None:
    machine = budget(simulate("gpu=4090:24,ram=64"))
    on_gpu = expected({**RUN, "file": str(slow_model)}, machine)
    command = ["llama-server", "--device", "none", "--gpu-layers", "0"]
    on_cpu = expected({**RUN, "file": str(slow_model), "command": command}, machine)

    assert on_gpu
    assert on_cpu
    assert on_gpu.answer.value > 2 * on_cpu.answer.value
    assert on_gpu.prompt.value > 2 * on_cpu.prompt.value
    assert None is expected({**RUN, "file": "/gone.gguf"}, machine)
