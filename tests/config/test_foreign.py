"""Names that other programs give to settings are answered with ours."""

from pathlib import Path

import pytest

from relayd.config.check import Surroundings, check

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("n_gpu_layers = 1", 'did you mean "gpu_layers" in [model.placement]?'),
        ("ngl = 99", 'did you mean "gpu_layers" in [model.placement]?'),
        ("flash-attn = true", 'did you mean "flash_attention" in [model.placement]?'),
        ("cache_type_k = 'f16'", 'did you mean "cache_type_k" in [model.placement]?'),
        ("scale = 1.0", 'did you mean "scale" in [[model.lora]]?'),
        ("ttl = 300", 'did you mean "idle_minutes"?'),
        ("mmproj = 'x'", 'did you mean "projector"?'),
        ("n_threads = 4", 'did you mean "threads"?'),
        (
            "temperature = 0.2",
            "requests set it: did you mean set = { temperature = … } of a [[virtual]] model?",
        ),
        (
            "cmd = 'llama-server'",
            "relayd makes the command line: did you mean file, and args for further flags?",
        ),
    ],
)
def test_names_of_other_programs_are_answered_with_ours(line: str, hint: str) -> None:
    key, _, value = line.partition(" = ")
    model = {"name": "qwen", "file": "q.gguf", key: value}
    (problem,) = check({"model": [model]}, str, Surroundings(Path("/"), Path("/home"), {})).problems
    assert problem.endswith(f'in [[model]] "qwen"; {hint}')
