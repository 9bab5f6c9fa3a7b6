from pathlib import Path

import pytest

from relayd.engine import environment
from relayd.engine.environment import probe_environment

pytestmark = pytest.mark.pure

KEPT = {
    "PATH": "/bin",
    "HOME": "/home/me",
    "LANG": "C.UTF-8",
    "LC_ALL": "C",
    "TZ": "UTC",
    "CUDA_VISIBLE_DEVICES": "0",
    "NVIDIA_VISIBLE_DEVICES": "all",
    "HIP_VISIBLE_DEVICES": "1",
    "ROCR_VISIBLE_DEVICES": "1",
    "HSA_OVERRIDE_GFX_VERSION": "10.3.0",
    "GGML_CUDA_NO_PINNED": "1",
    "OMP_NUM_THREADS": "4",
}
DROPPED = (
    "LLAMA_ARG_HOST LLAMA_API_KEY LLAMA_CACHE AIP_MODE HF_TOKEN LD_PRELOAD LD_LIBRARY_PATH "
    "DYLD_INSERT_LIBRARIES http_proxy HTTPS_PROXY ALL_PROXY NOTIFY_SOCKET LISTEN_FDS LISTEN_PID "
    "GGML_BACKEND_PATH PYTHONPATH AWS_SECRET_ACCESS_KEY RELAYD_SERVER__API_KEY"
).split()


def test_r45_a_child_sees_what_it_needs_and_our_tags() -> None:
    parent = KEPT | dict.fromkeys(DROPPED, "canary") | {"XDG_CONFIG_HOME": "/home/me/.config"}
    expected = KEPT | {
        "RELAYD_INSTANCE": "/run/relayd",
        "RELAYD_REPLICA": "qwen#0",
        "XDG_CONFIG_HOME": "/run/relayd/empty",
        "GGML_NO_BACKTRACE": "1",
    }
    assert expected == environment(
        parent, instance="/run/relayd", replica="qwen#0", empty_config_home=Path("/run/relayd/empty")
    )


def test_ours_win_over_inherited_ones() -> None:
    parent = {"GGML_NO_BACKTRACE": "0", "RELAYD_REPLICA": "other"}
    child = environment(parent, instance="/i", replica="me", empty_config_home=Path("/e"))
    assert ("1", "me") == (child["GGML_NO_BACKTRACE"], child["RELAYD_REPLICA"])


def test_an_engine_that_is_only_asked_carries_no_tag() -> None:
    assert {"XDG_CONFIG_HOME": "/dev/null", "GGML_NO_BACKTRACE": "1", "PATH": "/bin"} == probe_environment(
        {"PATH": "/bin", "LLAMA_ARG_PORT": "1"}
    )
