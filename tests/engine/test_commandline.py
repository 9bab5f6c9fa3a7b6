"""The flags of a running server say the setup that was planned for it."""

from itertools import pairwise
from pathlib import Path

import pytest

from relayd.config import Allocation
from relayd.endpoint import TcpAddress
from relayd.engine import Features, command
from relayd.engine.commandline import fixed_by, projector_of, setup_of
from relayd.memory.setup import EVERY_LAYER, Gpu, Setup
from relayd.planner import Facts, Planned, ReplicaSpec, step_down

pytestmark = pytest.mark.pure

NONE = frozenset[int]()
FLAGS = """--parallel --ctx-size --cache-ram --fit --gpu-layers --device --n-cpu-moe --cache-type-k
--cache-type-v --flash-attn --batch-size --ubatch-size --kv-unified --embeddings --mmproj --threads
--api-key-file"""
FEATURES = Features("b1", 1, frozenset(FLAGS.split()), {"--flash-attn": "[on|off|auto]"}, unix_sockets=True)


def started(spec: ReplicaSpec) -> tuple[str, ...]:
    return command(spec, FEATURES, TcpAddress(1), Path("/key"))


def test_what_a_plan_placed_is_read_back_from_its_flags() -> None:
    placement = Allocation(
        gpu_layers=20, devices=("CUDA0", "CUDA1"), shares=(3, 1), experts_on_cpu=5, cache_type_k="q8_0",
        cache_type_v="q8_0", batch=1024, unified=True,
    )  # fmt: skip
    spec = ReplicaSpec(
        "m", 0, Path("/m.gguf"), Path("/p.gguf"), context=4096, slots=3, embeddings=True, cache_ram_mib=512,
        placement=placement,
    )  # fmt: skip

    assert Setup(
        context=12288,
        slots=3,
        unified=True,
        type_k="q8_0",
        type_v="q8_0",
        batch=1024,
        embeddings=True,
        gpus=(Gpu("cuda0", 3), Gpu("cuda1", 1)),
        gpu_layers=20,
        experts_on_cpu=5,
        cache_ram_mib=512,
    ) == setup_of(started(spec), 32768, (), NONE)
    assert "/p.gguf" == projector_of(started(spec))


def test_what_is_not_said_is_what_the_engine_takes() -> None:
    gpus = (Gpu("cuda0"),)
    setup = setup_of(started(ReplicaSpec("m", 0, Path("/m.gguf"), slots=2)), 32768, gpus, frozenset({2}))

    assert (65536, gpus, EVERY_LAYER) == (setup.context, setup.gpus, setup.gpu_layers)
    assert frozenset({2}) == setup.repacked


@pytest.mark.parametrize("flags", [("--device", "none"), ("-ngl", "0")])
def test_a_server_may_leave_the_gpus_alone(flags: tuple[str, ...]) -> None:
    assert () == setup_of(flags, 4096, (Gpu("cuda0"),), NONE).gpus


def test_the_last_of_two_equal_flags_holds() -> None:
    assert 8192 == setup_of(("-c", "4096", "--parallel", "1", "--ctx-size", "8192"), 1, (), NONE).context


def test_flags_may_forbid_what_is_usual() -> None:
    setup = setup_of(("--no-repack", "--swa-full", "-cmoe", "-fa", "off"), 4096, (), frozenset({2}))

    assert (NONE, True, EVERY_LAYER, False) == (
        setup.repacked,
        setup.window_full,
        setup.experts_on_cpu,
        setup.flash_attention,
    )


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), set()),
        (("--top-k", "20"), set()),
        (("-ngl", "20"), {"gpu_layers"}),
        (("--n_gpu_layers", "all"), {"gpu_layers"}),
        (("-c", "4096", "--cpu-moe"), {"context", "experts_on_cpu"}),
        (("--no-kv-unified", "-ts", "3,1", "-ctk", "q8_0"), {"unified", "shares", "cache_type_k"}),
    ],
)
def test_arguments_fix_the_fields_they_set_however_they_are_spelt(
    args: tuple[str, ...], expected: set[str]
) -> None:
    assert expected == fixed_by(args)


def test_a_reduced_value_is_the_only_one_in_argv() -> None:
    """Of repeated flags the engine takes the last: a reduction that comes first would change nothing."""
    spec = ReplicaSpec("m", 0, Path("/m.gguf"), slots=1, context=2048, placement=Allocation(gpu_layers=49))

    step = step_down(Planned(spec), Facts(trained_context=2048, layers=48))

    assert step
    argv = started(step.planned.spec)
    assert ["36"] == [value for flag, value in pairwise(argv) if flag == "--gpu-layers"]
    assert "layers on the device: 49 → 36" == step.what
