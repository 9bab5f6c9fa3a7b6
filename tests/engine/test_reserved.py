import os
import re
import subprocess

import pytest

from relayd.engine import Engine, check_extra_args
from relayd.engine.environment import probe_environment
from relayd.engine.features import parse_help
from relayd.engine.reserved import canonical
from relayd.errors import ConfigError

WHERE = 'args of model "qwen"'


def _refused(*args: str) -> bool:
    try:
        check_extra_args(args, WHERE)
    except ConfigError:
        return True
    return False


@pytest.mark.pure
@pytest.mark.parametrize(
    "args",
    [
        ("--host", "0.0.0.0"),
        ("--host=0.0.0.0",),
        ("--api_key", "x"),
        ("--api_key_file=x",),
        ("--top-k", "1", "-c", "4096"),
        ("-np", "2"),
        ("-m", "other.gguf"),
        ("--tools", "exec_shell_command"),
        ("--agent",),
        ("-ag",),
        ("--mcp-servers-json", "{}"),
        ("--ui-mcp-proxy",),
        ("--webui_mcp_proxy",),
        ("--rpc", "host:1"),
        ("--ssl-key-file", "k"),
        ("--cors-origins", "*"),
        ("--no-cors-credentials",),
        ("-hf", "user/repo"),
        ("--hf-repo-draft", "user/repo"),
        ("--gpt-oss-20b-default",),
        ("--fim-qwen-1.5b-default",),
        ("--models-preset", "x"),
        ("--no-models-autoload",),
        ("--slot-save-path", "/"),
        ("--media-path", "/"),
        ("--log-prompts-dir", "/"),
        ("--reuse-port",),
        ("--no-slots",),
        (" --port", "1"),
    ],
)
def test_r44_a_flag_of_ours_is_refused_however_it_is_spelt(args: tuple[str, ...]) -> None:
    assert _refused(*args)


@pytest.mark.pure
@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--top-k", "20", "--temp", "0.7"),
        ("-fa", "on", "-ctk", "q8_0"),
        ("-ngl", "99", "--load-mode", "mlock"),
        ("--spec-default", "--no-warmup"),
        ("--reasoning-budget", "-1"),
        ("--chat-template", "a=b --host"),
        ("-fitt", "512"),
        ("--threads-batch", "4"),
    ],
)
def test_other_flags_pass(args: tuple[str, ...]) -> None:
    check_extra_args(args, WHERE)


@pytest.mark.pure
def test_the_message_names_the_flag_and_the_setting_to_use_instead() -> None:
    with pytest.raises(ConfigError) as caught:
        check_extra_args(["--ctx_size=4096"], WHERE)
    expected = 'args of model "qwen": --ctx-size belongs to relayd\nUse the setting context instead.'
    assert expected == str(caught.value)


@pytest.mark.pure
def test_a_flag_without_a_setting_is_to_be_removed() -> None:
    with pytest.raises(ConfigError) as caught:
        check_extra_args(["--metrics"], WHERE)
    assert "Remove it." == caught.value.remedy


@pytest.mark.pure
def test_underscores_are_read_as_the_engine_reads_them() -> None:
    assert ["--foo-bar", "-a_b", "value"] == [canonical(arg) for arg in ("--foo_bar=1", "-a_b", "value")]


@pytest.mark.real
def test_r44_every_alias_of_a_refused_flag_is_refused_too(engine: Engine) -> None:
    text = subprocess.run(
        [engine.path, "--help"],
        capture_output=True,
        text=True,
        env=probe_environment(os.environ),
        check=True,
    ).stdout
    groups = [list(parse_help(line)) for line in text.splitlines()]
    half = [names for names in groups if len({_refused(name) for name in names}) > 1]
    assert sum(map(bool, groups)) > 200
    assert [] == half


@pytest.mark.real
def test_r44_every_flag_that_opens_a_door_is_refused(engine: Engine) -> None:
    dangerous = re.compile(
        r"host|^--port|key|ssl|cors|tool|agent|mcp|rpc|log-file|prompts-dir|save-path|media|models-|"
        r"hf-|-url|docker|reuse-port|(?<!spec)-default$|^--path"
    )
    harmless = {"--no-host"}
    found = {flag for flag in engine.features.flags - harmless if dangerous.search(flag)}
    assert set() == {flag for flag in found if not _refused(flag)}
