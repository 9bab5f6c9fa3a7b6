"""Do RelayServe's variables mean the model, the ports and the flags that they meant there?"""

from pathlib import Path

import pytest

from relayd.config.check import Document, Surroundings
from relayd.config.shortcut import shortcut
from relayd.secret import Secret

pytestmark = pytest.mark.pure


def read(**environ: str) -> Document:
    return shortcut(Surroundings(Path("/srv"), Path("/home/ann"), environ))


def model(**environ: str) -> dict[str, object]:
    document = read(LLAMA_MODEL_PATH="/m/tiny.gguf", **environ)
    assert [] == document.problems
    (found,) = document.values["model"]
    return dict(found)


def test_without_the_variables_nothing_is_said() -> None:
    assert Document() == read(PATH="/bin", LLAMA_MODEL_PATH="", LLAMA_SERVER_PATH="/opt/llama-server")


def test_one_variable_is_a_model_named_after_its_file() -> None:
    document = read(LLAMA_MODEL_PATH="models/Tiny Llama (v1).Q4_K_M.gguf")

    assert [] == document.problems
    assert ["LLAMA_MODEL_PATH"] == document.sources
    assert {
        "model": [
            {
                "name": "Tiny-Llama-v1-.Q4_K_M",
                "file": "/srv/models/Tiny Llama (v1).Q4_K_M.gguf",
                "aliases": ["relay-gguf"],
            }
        ],
        "compat": {"rewrite_ids": "named"},
    } == document.values
    assert [("LLAMA_MODEL_PATH", document.values["model"][0])] == document.models


def test_the_home_is_written_with_a_tilde() -> None:
    assert "/home/ann/m.gguf" == read(LLAMA_MODEL_PATH="~/m.gguf").values["model"][0]["file"]


@pytest.mark.parametrize(
    ("ports", "span", "replicas"),
    [
        ("8081", "8081-8081", 1),
        ("8081,8082", "8081-8082", 2),
        ("8083, 8081,8082,", "8081-8083", 3),
        ("8081-8084", "8081-8084", 4),
        ("8081,8083", "8081,8083", 2),
        ("8081-8082,9090", "8081,8082,9090", 3),
    ],
)
def test_every_port_is_a_replica(ports: str, span: str, replicas: int) -> None:
    document = read(LLAMA_MODEL_PATH="/m/tiny.gguf", LLAMA_PORTS=ports)

    assert {"listen": "tcp", "ports": span} == document.values["replicas"]
    assert replicas == document.values["model"][0]["replicas"]


def test_ports_without_a_model_select_tcp() -> None:
    assert {"replicas": {"listen": "tcp", "ports": "8081-8081"}} == read(LLAMA_PORTS="8081").values


@pytest.mark.parametrize("ports", ["8081,8081", "x", "0", "70000", "8082-8081", ","])
def test_ports_that_are_none_are_a_problem(ports: str) -> None:
    (problem,) = read(LLAMA_PORTS=ports).problems

    assert problem.startswith(f"LLAMA_PORTS: {ports!r}")


def test_the_door_has_a_port_of_this_machine_only() -> None:
    assert {"server": {"listen": "127.0.0.1:9000"}} == read(RELAYSERVE_PORT="9000").values
    (problem,) = read(RELAYSERVE_PORT="all").problems
    assert problem.startswith("RELAYSERVE_PORT: ")


def test_flags_that_are_settings_become_settings_and_others_stay() -> None:
    found = model(
        LLAMA_SERVER_ARGS="-c 8192 -np 2 --threads 4 --embeddings --cache_ram 0 -ngl 99 -a tiny,small -fa on"
    )

    assert {
        "name": "tiny",
        "file": "/m/tiny.gguf",
        "context": 4096,
        "slots": 2,
        "threads": 4,
        "embeddings": True,
        "cache_ram_mib": 0,
        "args": ["-ngl", "99", "-fa", "on"],
        "aliases": ["relay-gguf"],
    } == found


def test_the_model_has_the_name_that_relayserve_gave_it_too() -> None:
    assert ["other"] == model(RELAYSERVE_MODEL_ID="other")["aliases"]
    assert "aliases" not in model(LLAMA_SERVER_ARGS="-a relay-gguf")


def test_a_model_id_without_a_model_is_a_warning() -> None:
    document = read(RELAYSERVE_MODEL_ID="other")

    assert (["RELAYSERVE_MODEL_ID has no effect without LLAMA_MODEL_PATH"], []) == (
        document.warnings,
        document.sources,
    )


def test_a_context_without_slots_is_that_of_one_slot() -> None:
    assert (2048, 1) == (
        (found := model(LLAMA_SERVER_ARGS="--ctx-size 2048"))["context"],
        found["slots"],
    )


@pytest.mark.parametrize("flags", ["-c", "-c x", "-c -1", "-a", "'open"])
def test_flags_that_make_no_sense_are_a_problem(flags: str) -> None:
    (problem,) = read(LLAMA_MODEL_PATH="/m/tiny.gguf", LLAMA_SERVER_ARGS=flags).problems

    assert problem.startswith("LLAMA_SERVER_ARGS: ")


def test_values_out_of_range_are_a_problem_of_their_variable() -> None:
    (problem,) = read(LLAMA_MODEL_PATH="/m/tiny.gguf", LLAMA_SERVER_ARGS="-np 300").problems

    assert problem.startswith('LLAMA_SERVER_ARGS: "slots" in [[model]] "tiny"')


def test_flags_without_a_model_are_a_warning() -> None:
    document = read(LLAMA_SERVER_ARGS="-c 2048")

    assert ([], []) == (document.problems, document.sources)
    assert ["LLAMA_SERVER_ARGS has no effect without LLAMA_MODEL_PATH"] == document.warnings


def test_backends_are_upstreams_of_the_model_under_its_name() -> None:
    document = read(RELAYSERVE_BACKENDS="http://a:1, http://b:2/v1,,", RELAYSERVE_MODEL_ID="mine")

    assert [] == document.problems + document.warnings
    assert [
        {"url": "http://a:1", "name": "a-1", "models": ["mine=*"], "strategy": "round_robin"},
        {"url": "http://b:2/v1", "name": "b-2", "models": ["mine=*"], "strategy": "round_robin"},
    ] == document.values["upstream"]


def test_backends_beside_a_file_serve_its_model() -> None:
    document = read(LLAMA_MODEL_PATH="/m/tiny.gguf", RELAYSERVE_BACKENDS="http://a:1")

    assert [["tiny=*"]] == [one["models"] for one in document.values["upstream"]]


def test_a_backend_that_is_no_url_is_a_problem_of_its_variable() -> None:
    (problem,) = read(RELAYSERVE_BACKENDS="localhost:8081").problems

    assert problem.startswith("RELAYSERVE_BACKENDS: ")


def test_a_variable_without_meaning_is_named_with_what_there_is_instead() -> None:
    warnings = read(
        RELAYSERVE_BATCH_SIZE="8", RELAYSERVE_NEW="1", MODELRELAY_HOME="/x", RELAYSERVE_PORT="1"
    ).warnings

    assert [
        "MODELRELAY_HOME has no effect here: relayd models lists where models are",
        "RELAYSERVE_BATCH_SIZE has no effect here: as many requests run at once as there are slots",
        "RELAYSERVE_NEW has no effect here",
    ] == warnings


def test_the_variables_of_a_modelrelay_worker_are_an_upstream() -> None:
    document = read(
        WORKER_SECRET="s",
        BACKEND_URL="http://127.0.0.1:8000",
        MODELS="a, b",
        MAX_CONCURRENCY="3",
        WORKER_NAME="gpu",
    )

    assert [
        {"url": "http://127.0.0.1:8000", "name": "gpu", "models": ["a", "b"], "slots": 3}
    ] == document.values["upstream"]


def test_the_variables_of_a_modelrelay_server_are_settings() -> None:
    document = read(MODELRELAY_REQUIRE_API_KEYS="true", LISTEN_ADDR="127.0.0.1:9000")

    assert {"listen": "127.0.0.1:9000", "require_key": "always"} == document.values["server"]


def test_the_secret_of_a_modelrelay_server_lets_its_workers_in() -> None:
    document = read(WORKER_SECRET="s" * 24)

    assert {"worker_secret": Secret("s" * 24)} == document.values["hub"]
    assert ["WORKER_SECRET"] == document.sources


def test_the_secret_of_a_modelrelay_worker_lets_nobody_in() -> None:
    assert "hub" not in read(WORKER_SECRET="s" * 24, PROXY_URL="http://hub").values


def test_a_short_secret_of_a_modelrelay_server_is_named_in_a_warning() -> None:
    document = read(WORKER_SECRET="short")

    assert "hub" not in document.values
    assert "WORKER_SECRET is shorter than 24 characters" in document.warnings[0]


def test_variables_that_any_program_may_have_count_only_beside_modelrelays_own() -> None:
    assert {} == read(LISTEN_ADDR="0.0.0.0:80", BACKEND_URL="http://x", MODELS="a", LOG_LEVEL="debug").values
