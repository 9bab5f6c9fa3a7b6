"""Does every problem of a document come with its file, its line and what to write instead?"""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from relayd.config.check import Document, Surroundings, check, contradictions, holds_key, repeated_names
from relayd.config.locate import lines, locate
from relayd.secret import Secret

pytestmark = pytest.mark.pure

KEY = "k" * 24


def read(text: str, **environ: str) -> Document:
    known = lines(text)
    around = Surroundings(Path("/etc/relayd"), Path("/home/ann"), environ)
    return check(tomllib.loads(text), lambda path: f"relay.toml:{locate(known, path)}", around)


def value(text: str, section: str, key: str, **environ: str) -> Any:
    document = read(text, **environ)
    assert [] == document.problems
    return document.values[section][key]


MODEL = '[[model]]\nname = "qwen"\nfile = "q.gguf"\n'
NAME = (
    "a name of at most 128 letters, digits and . _ : - that begins with a letter or digit "
    "(/ only between two such names)"
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (MODEL + "contxt = 1", '4: unknown key "contxt" in [[model]] "qwen"; did you mean "context"?'),
        (MODEL + "num_ctx = 1", '4: unknown key "num_ctx" in [[model]] "qwen"; did you mean "context"?'),
        (MODEL + "ctx-size = 1", '4: unknown key "ctx-size" in [[model]] "qwen"; did you mean "context"?'),
        (
            MODEL + "listen = 1",
            '4: unknown key "listen" in [[model]] "qwen"; did you mean "listen" in [server]?',
        ),
        (
            "[[models]]\nname = 'x'",
            '1: "models": expected a table, [models], got an array; did you mean [[model]]?',
        ),
        ("[[modle]]\nname = 'x'", '1: unknown key "modle"; did you mean [[model]]?'),
        ("[[virtuals]]\nname = 'x'", '1: unknown key "virtuals"; did you mean [[virtual]]?'),
        (MODEL + "zzz = 1", '4: unknown key "zzz" in [[model]] "qwen"'),
        ("# x\nmodl = 1", '2: unknown key "modl"; did you mean "model"?'),
        ("port = 8080", '1: unknown key "port"; did you mean "listen" in [server]?'),
        ("[server]\nport = 8080", '2: unknown key "port" in [server]; did you mean "listen"?'),
        ("[replicas]\nport = 8080", '2: unknown key "port" in [replicas]; did you mean "ports"?'),
        ("[server]\ndepth = 1", '2: unknown key "depth" in [server]; did you mean "depth" in [queue]?'),
        ('[server]\n"\\u001b[2J" = 1', '2: unknown key "\\u001b[2J" in [server]'),
        ("[servr]\nlisten = 'x'", '1: unknown key "servr"; did you mean "server"?'),
        ("server = 1", '1: "server": expected a table, [server], got the integer 1'),
        ("[[server]]", '1: "server": expected a table, [server], got an array'),
        ("[model]\nname = 'x'", '1: "model": expected an array of tables, [[model]], got a table'),
        ("model = [1]", "1: [[model]] number 1: expected a table, got the integer 1"),
        ("\n[[model]]\nname = 'a'", '2: [[model]] "a" lacks "file"'),
        ("\n[[model]]\nfile = 'a'", '2: [[model]] number 1 lacks "name"'),
        (MODEL + "[[model.lora]]", '4: [[model.lora]] number 1 in [[model]] "qwen" lacks "file"'),
        (
            MODEL + "[[model.lora]]\nfile = 'x'\nscale = 'high'",
            (
                '6: "scale" in [[model.lora]] number 1 in [[model]] "qwen": '
                'expected a number, got the string "high"'
            ),
        ),
        (
            MODEL + "context = '4k'",
            '4: "context" in [[model]] "qwen": expected an integer from 0 to 2147483647, got the string "4k"',
        ),
        (
            MODEL + "slots = -1",
            '4: "slots" in [[model]] "qwen": expected an integer from 0 to 256, got the integer -1',
        ),
        (
            MODEL + "slots = 257",
            '4: "slots" in [[model]] "qwen": expected an integer from 0 to 256, got the integer 257',
        ),
        (
            MODEL + "replicas = 0",
            (
                '4: "replicas" in [[model]] "qwen": expected an integer of at least 1, '
                "or a range like { min = 1, max = 3 }, got the integer 0"
            ),
        ),
        (
            MODEL + "replicas = 'many'",
            (
                '4: "replicas" in [[model]] "qwen": expected an integer of at least 1, '
                'or a range like { min = 1, max = 3 }, got the string "many"'
            ),
        ),
        (MODEL + "replicas = { min = 2 }", '4: [replicas] lacks "max"'),
        (
            MODEL + "replicas = { min = 0, max = 2 }",
            '4: "min" in [replicas]: expected an integer from 1 to 2147483647, got the integer 0',
        ),
        (
            MODEL + "replicas = { most = 2, max = 3 }",
            '4: unknown key "most" in [replicas]',
        ),
        (
            MODEL + "load = 'lazy'",
            '4: "load" in [[model]] "qwen": expected "start" or "demand", got the string "lazy"',
        ),
        (
            MODEL + "idle_minutes = -1",
            '4: "idle_minutes" in [[model]] "qwen": expected a number of at least 0, got the integer -1',
        ),
        (
            "[memory]\nswap_batch_requests = 0",
            (
                '2: "swap_batch_requests" in [memory]: expected an integer from 1 to 2147483647, '
                "got the integer 0"
            ),
        ),
        (
            MODEL + "threads = true",
            '4: "threads" in [[model]] "qwen": expected an integer from 0 to 2147483647, got true',
        ),
        (
            MODEL + "threads = 2.0",
            '4: "threads" in [[model]] "qwen": expected an integer from 0 to 2147483647, got the float 2.0',
        ),
        (
            MODEL + "embeddings = 1",
            '4: "embeddings" in [[model]] "qwen": expected true or false, got the integer 1',
        ),
        (
            MODEL + "args = '--flash-attn on'",
            '4: "args" in [[model]] "qwen": expected an array of strings, got the string "--flash-attn on"',
        ),
        (
            MODEL + "args = [\n'-fa',\n1]",
            '6: number 2 of "args" in [[model]] "qwen": expected a string, got the integer 1',
        ),
        (
            "[queue]\ndepth = 0",
            '2: "depth" in [queue]: expected an integer of at least 1, or "unlimited", got the integer 0',
        ),
        (
            "[queue]\nmax_wait_seconds = -1",
            (
                '2: "max_wait_seconds" in [queue]: expected a number of at least 0, or "unlimited", got '
                "the integer -1"
            ),
        ),
        (
            "[probe]\nfast_seconds = 0.0",
            '2: "fast_seconds" in [probe]: expected a number above 0, got the float 0.0',
        ),
        (
            "[probe]\nfast_seconds = inf",
            '2: "fast_seconds" in [probe]: expected a number above 0, got the float inf',
        ),
        (
            "[restart]\nfirst_delay_seconds = nan",
            '2: "first_delay_seconds" in [restart]: expected a number of at least 0, got the float nan',
        ),
        (
            "[replicas]\nlisten = 'tcp'\nsandbox = 'bwrap'",
            '3: [replicas] sandbox = "bwrap" has no network, so it needs listen = "unix"',
        ),
        (
            "[replicas]\nlisten = 'pipe'",
            '2: "listen" in [replicas]: expected "unix" or "tcp", got the string "pipe"',
        ),
        (
            "[replicas]\nports = '9-8'",
            (
                "2: \"ports\" in [replicas]: '9-8' is not a range of ports. "
                "Write the lower one first, both from 1 to 65535, such as 8100-8199."
            ),
        ),
        (
            "[server]\nlisten = ':80'",
            (
                "2: \"listen\" in [server]: ':80' is not HOST:PORT. "
                "Write 127.0.0.1:8080 for this machine only, "
                "0.0.0.0:8080 for every interface, or [::1]:8080 for IPv6."
            ),
        ),
        ("[server]\nlisten = 1979-05-27", '2: "listen" in [server]: expected a string, got a date or time'),
        (
            "[server]\nlisten = []",
            '2: "listen" in [server]: an empty list; write at least one address, such as 127.0.0.1:8080',
        ),
        (
            "[server]\nallowed_hosts = ['*']",
            (
                '2: number 1 of "allowed_hosts" in [server]: expected a host name or address, '
                'without port or wildcard; IPv6 in brackets, got the string "*"'
            ),
        ),
        (
            "[server]\ncors_origins = [\n  'https://a.b',\n  'https://a.b/',\n]",
            (
                '4: number 2 of "cors_origins" in [server]: expected an origin '
                "(scheme, host and port, no path) like https://app.example:8443 or app://obsidian.md, "
                'got the string "https://a.b/"'
            ),
        ),
        (
            "[engine]\nrelease_sha256 = 'abc'",
            (
                '2: "release_sha256" in [engine]: expected a SHA-256 of 64 hex digits, or an empty string, '
                'got the string "abc"'
            ),
        ),
        (
            "[engine]\npath = '-x'",
            '2: "path" in [engine]: expected a path that does not begin with "-", got the string "-x"',
        ),
        (
            "[[model]]\nname = 'a'\nfile = '--mlock'",
            (
                '3: "file" in [[model]] "a": expected a path that is not empty and does not begin with "-", '
                'got the string "--mlock"'
            ),
        ),
        (
            "[[model]]\nname = '../a'\nfile = 'f'",
            f'2: "name" in [[model]] "../a": expected {NAME}, got the string "../a"',
        ),
        (
            MODEL + "aliases = [\n'ok',\n'',\n]",
            (
                f'6: number 2 of "aliases" in [[model]] "qwen": expected {NAME}, with * for any characters, '
                'got the string ""'
            ),
        ),
        (
            f"[server]\napi_key = '{'k' * 23}'",
            (
                '2: "api_key" in [server]: a key of 23 characters can be guessed, at least 24 are needed; '
                "make one with: openssl rand -hex 32"
            ),
        ),
        (
            f"[server]\napi_key = '{'k' * 23} '",
            '2: "api_key" in [server]: a key may hold printable ASCII only, without spaces',
        ),
        ("[server]\napi_key = 123456", '2: "api_key" in [server]: expected a string, got an integer'),
        (
            "[server]\napi_key = '${ENV:MY_KEY}'",
            '2: "api_key" in [server]: the environment variable MY_KEY is not set',
        ),
    ],
)
def test_a_problem_names_file_line_and_remedy(text: str, problem: str) -> None:
    assert [f"relay.toml:{problem}"] == read(text).problems


def test_all_problems_of_a_document_come_together_in_its_order() -> None:
    problems = read("[server]\nlistn = 1\nmax_body_mib = 0\n[[model]]\nname = ''\n").problems

    assert ["relay.toml:2", "relay.toml:3", "relay.toml:5", "relay.toml:4"] == [
        one.split(": ")[0] for one in problems
    ]


def test_a_secret_that_is_refused_is_not_shown() -> None:
    assert "hunter2" not in read("[server]\napi_key = 'hunter2'").problems[0]
    assert "hunter2" not in read("[server]\napi_key = ['hunter2']").problems[0]


@pytest.mark.parametrize("name", ["a", "qwen3:8b-q4_K.M", "org/model", "a/b/c", "4" * 128])
def test_names_people_use_are_allowed(name: str) -> None:
    assert [] == read(f'[[model]]\nname = "{name}"\nfile = "f"\n').problems


@pytest.mark.parametrize(
    "name",
    ["", "-a", ".a", "a/", "/a", "a//b", "a/../b", "a b", "a\\n", "a#1", "é", "\\u0430", "a%2fb", "a" * 129],
)
def test_r38_names_that_could_be_paths_flags_or_lookalikes_are_not(name: str) -> None:
    (problem,) = read(f'[[model]]\nname = "{name}"\nfile = "f"\n').problems

    assert problem.startswith("relay.toml:2: ")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a.gguf", "/etc/relayd/a.gguf"),
        ("models/a.gguf", "/etc/relayd/models/a.gguf"),
        ("/m/a.gguf", "/m/a.gguf"),
        ("~/a.gguf", "/home/ann/a.gguf"),
        ("$HOME/a.gguf", "/etc/relayd/$HOME/a.gguf"),
        ("${ENV:HOME}/a", "/etc/relayd/${ENV:HOME}/a"),
    ],
)
def test_r40_paths_start_at_the_file_or_at_home_and_expand_nothing(written: str, expected: str) -> None:
    text = f"[[model]]\nname = 'a'\nfile = '{written}'\n[[model.lora]]\nfile = '{written}'\n"

    (model,) = read(text, HOME="/root").values["model"]

    assert (expected, expected) == (model["file"], model["lora"][0]["file"])


def test_an_empty_engine_path_stays_empty() -> None:
    assert "" == value("[engine]\npath = ''", "engine", "path")


def test_a_secret_can_come_from_a_named_variable() -> None:
    text = "[server]\napi_key = '${ENV:MY_KEY}'"

    assert Secret(KEY) == value(text, "server", "api_key", MY_KEY=KEY)


def test_an_empty_key_is_no_key() -> None:
    assert Secret("") == value("[server]\napi_key = ''", "server", "api_key")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"[server]\napi_key = '{KEY}'", True),
        (f"[server]\napi_key = '{KEY}${{ENV:X}}'", True),
        ("[server]\napi_key = '${ENV:X}'", False),
        ("[server]\napi_key = ''", False),
        ("[server]", False),
        ("server = 1", False),
        ("", False),
    ],
)
def test_a_file_holds_a_key_unless_it_names_a_variable(text: str, expected: bool) -> None:
    assert expected == holds_key(tomllib.loads(text))


def test_a_name_belongs_to_one_model() -> None:
    models = read(
        MODEL + "aliases = ['a', 'b']\n[[model]]\nname = 'b'\nfile = 'x'\n" + MODEL + "aliases = ['c', 'c']\n"
    ).models

    assert [
        'relay.toml:6: a model is already called "b", at relay.toml:2',
        'relay.toml:9: a model is already called "qwen", at relay.toml:2',
        'relay.toml:9: a model is already called "c", at relay.toml:9',
    ] == repeated_names(models)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("replicas = { min = 3, max = 2 }", "replicas has min = 3 above max = 2"),
        (
            "idle_minutes = 5\npin = true",
            "idle_minutes = 5 unloads it, and a model with pin = true stays in memory; keep one of them",
        ),
        (
            "idle_minutes = 0.5\nhome = true",
            (
                "idle_minutes = 0.5 unloads it, and a model with home = true is loaded again when the "
                "machine is idle; keep one of them"
            ),
        ),
    ],
)
def test_settings_of_a_model_that_cannot_hold_together_are_refused(text: str, problem: str) -> None:
    assert [f'relay.toml:2: [[model]] "qwen": {problem}'] == contradictions(read(MODEL + text).models)


@pytest.mark.parametrize(
    "text",
    [
        "replicas = { max = 3 }",
        "replicas = 3\nload = 'demand'\npin = true\nhome = true",
        "idle_minutes = 5",
        "replicas = { min = 0, max = 2 }",
        "replicas = { min = 2 }",
    ],
)
def test_settings_that_hold_together_are_no_contradiction(text: str) -> None:
    assert [] == contradictions(read(MODEL + text).models)
