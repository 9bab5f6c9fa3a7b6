"""Files of the programs before relayd become upstreams, with a note on what has no place."""

import json
from typing import Any

import pytest

from relayd.config.seeds import IMPORTS, as_upstream, from_llmstream, from_modelrelay, from_relayserve
from relayd.errors import ConfigError

pytestmark = pytest.mark.pure


def test_each_server_of_llmstream_is_one_upstream_with_all_its_models() -> None:
    config: dict[str, Any] = {
        "models": {
            "org/a": {"servers": ["http://s1:8000", "http://s2:8000"], "strategy": "real_time_metrics"},
            "b": {"servers": ["http://s1:8000"], "strategy": "real_time_metrics"},
            "c": {"servers": ["http://s1:8000"]},
        },
        "metrics_update_interval": 5,
        "default_generate_server": "http://s1:8000",
    }
    found = from_llmstream(json.dumps(config))
    assert [
        ("s1-8000", ["org/a", "b"], "real_time_metrics", 5),
        ("s2-8000", ["org/a"], "real_time_metrics", 5),
        ("s1-8000-2", ["c"], "round_robin", 5),
    ] == [(one["name"], one["models"], one["strategy"], one["metrics_seconds"]) for one in found.upstreams]
    assert "default_generate_server" in found.notes[0]


def test_a_backend_of_relayserve_is_chosen_by_its_name_and_the_default_by_any_other() -> None:
    found = from_relayserve(
        """
default_backend: local   # the one on this machine
backends:
  local:
    type: local
    url: "http://127.0.0.1:8081"
  cloud:
    type: modal
    url: https://x.modal.run
"""
    )
    assert [("local", ["local=*"])] == [(one["name"], one["models"]) for one in found.upstreams]
    assert ("backends.cloud: relayd does not use the old /completion API; it is left out.",) == found.notes
    assert ({"name": "default", "models": ["local"], "aliases": ["*"]},) == found.virtual


def test_a_worker_of_modelrelay_is_one_upstream() -> None:
    found = from_modelrelay(
        'proxy-url = "http://hub"\nbackend-url = "http://127.0.0.1:8000"\nmodels = "a,b"\n'
        'worker-name = "gpu"\nmax-concurrency = 4\nworker-secret = "s"\n'
    )
    assert (
        {"url": "http://127.0.0.1:8000", "name": "gpu", "slots": 4, "models": ["a", "b"]},
    ) == found.upstreams
    assert 2 == len(found.notes)


def test_only_what_differs_from_the_defaults_is_written() -> None:
    line = {"url": "http://s", "name": "s", "models": [], "strategy": "prefix_affinity", "slots": 0}
    assert {"url": "http://s", "name": "s"} == as_upstream(line)


@pytest.mark.parametrize(
    ("program", "text", "problem"),
    [
        ("llmstream", "{", "not valid JSON"),
        ("llmstream", "{}", "not a table"),
        ("llmstream", '{"models": {"a": {"servers": []}}}', "models.a.servers"),
        (
            "llmstream",
            '{"models": {"a": {"servers": ["http://s"], "strategy": "best"}}}',
            "models.a.strategy",
        ),
        ("relayserve", "backends:\n  - a\n", "line 2"),
        ("relayserve", "default_backend: x\n", "backends"),
        ("relayserve", "backends:\n  a:\n    type: vllm\n", "backends.a has no url"),
        ("modelrelay", "x = ", "not valid TOML"),
        ("modelrelay", "models = 'a'", "backend_url"),
    ],
)
def test_a_file_of_something_else_is_refused_by_what_is_wrong(program: str, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        IMPORTS[program](text)
