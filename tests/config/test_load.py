"""Is the right file found, and does everything add up to one configuration?"""

import os
from pathlib import Path

import pytest

from relayd.config.load import Loaded, find_config, load
from relayd.config.schema import Allocation, Config
from relayd.errors import ConfigError
from relayd.secret import Secret

pytestmark = pytest.mark.system

KEY = "k" * 24


class Machine:
    """Folders that stand for a home, a working directory and /etc."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.cwd = root / "cwd"
        self.system_file = root / "etc/relay.toml"
        self.user_file = self.home / ".config/relayd/relay.toml"
        self.models_file = self.home / ".local/state/relayd/models.toml"
        for folder in (
            self.cwd,
            *(one.parent for one in (self.system_file, self.user_file, self.models_file)),
        ):
            folder.mkdir(parents=True)

    def load(self, file: Path | None = None, **environ: str) -> Loaded:
        return load(file, environ, self.home, self.cwd, system_file=self.system_file)

    def find(self, file: Path | None = None, **environ: str) -> Path | None:
        return find_config(file, environ, self.home, self.cwd, system_file=self.system_file)

    def refusal(self, file: Path | None = None, **environ: str) -> str:
        with pytest.raises(ConfigError) as refused:
            self.load(file, **environ)
        return str(refused.value)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def write(file: Path, text: str, mode: int = 0o600) -> Path:
    file.write_text(text, "utf-8")
    file.chmod(mode)
    return file


def test_without_a_file_the_defaults_hold(machine: Machine) -> None:
    assert Loaded(Config(), (), ()) == machine.load()


def test_the_nearest_file_wins(machine: Machine) -> None:
    found = []
    for file in (machine.system_file, machine.user_file, machine.cwd / "relay.toml"):
        write(file, "")
        found.append(machine.find())
    found.append(machine.find(RELAYD_CONFIG="/x/env.toml"))
    found.append(machine.find(Path("flag.toml"), RELAYD_CONFIG="/x/env.toml"))

    assert [
        machine.system_file,
        machine.user_file,
        Path("relay.toml"),
        Path("/x/env.toml"),
        Path("flag.toml"),
    ] == found


def test_only_one_relay_toml_is_read(machine: Machine) -> None:
    write(machine.system_file, "[queue]\ndepth = 1")
    write(machine.user_file, "[queue]\nattempts = 7")

    loaded = machine.load()

    assert (256, 7) == (loaded.config.queue.depth, loaded.config.queue.attempts)
    assert (str(machine.user_file),) == loaded.sources


def test_a_named_file_must_be_there(machine: Machine) -> None:
    write(machine.user_file, "")

    assert "gone.toml: cannot be read: No such file or directory" == machine.refusal(Path("gone.toml"))
    assert "gone.toml: cannot be read: No such file or directory" == machine.refusal(
        RELAYD_CONFIG="gone.toml"
    )
    assert machine.refusal(machine.cwd).startswith(f"{machine.cwd}: cannot be read: Is a directory")


def test_a_relative_name_starts_at_the_working_directory(machine: Machine) -> None:
    write(machine.home / "x.toml", "[[model]]\nname = 'a'\nfile = 'a.gguf'")

    (model,) = machine.load(Path("../home/x.toml")).config.model

    assert machine.home / "a.gguf" == Path(os.path.normpath(model.file))


def test_variables_override_the_files(machine: Machine) -> None:
    write(machine.user_file, "[queue]\ndepth = 1\nattempts = 7")

    loaded = machine.load(RELAYD_QUEUE__DEPTH="2", RELAYD_API_KEY=KEY)

    assert (2, 7) == (loaded.config.queue.depth, loaded.config.queue.attempts)
    assert Secret(KEY) == loaded.config.server.api_key
    assert (str(machine.user_file), "RELAYD_API_KEY", "RELAYD_QUEUE__DEPTH") == loaded.sources


def test_models_that_relayd_wrote_come_after_those_of_the_operator(machine: Machine) -> None:
    write(machine.user_file, "[[model]]\nname = 'a'\nfile = '/a'")
    write(machine.models_file, "[[model]]\nname = 'b'\nfile = '/b'\n[queue]\ndepth = 9")

    loaded = machine.load()

    assert ["a", "b"] == [one.name for one in loaded.config.model]
    assert 9 == loaded.config.queue.depth
    assert (str(machine.user_file), str(machine.models_file)) == loaded.sources


def test_models_that_relayd_wrote_need_no_relay_toml(machine: Machine) -> None:
    write(machine.models_file, "[[model]]\nname = 'b'\nfile = '/b'")

    assert ["b"] == [one.name for one in machine.load().config.model]


def test_a_name_taken_in_the_other_file_names_both_places(machine: Machine) -> None:
    write(machine.user_file, "[[model]]\nname = 'a'\nfile = '/a'")
    write(machine.models_file, "\n[[model]]\nname = 'b'\naliases = ['a']\nfile = '/b'")

    expected = f'{machine.models_file}:3: a model is already called "a", at {machine.user_file}:2'

    assert expected == machine.refusal()


def test_the_problems_of_all_sources_come_together(machine: Machine) -> None:
    write(machine.cwd / "relay.toml", "[server]\nlistn = 1\n[queue]\ndepth = 0\n")
    write(machine.models_file, "x = ")

    assert ["relay.toml:2", "relay.toml:4", f"{machine.models_file}:1:5", "RELAYD_QUEUE__DEPTHS"] == [
        line.split(": ")[0] for line in machine.refusal(RELAYD_QUEUE__DEPTHS="1").splitlines()
    ]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"[server]\nlisten = = 1\n", "2:10: Invalid value"),
        (b"[server]\n\nlisten = 'a", "3:12: Expected"),
        (b"a = 1\na = 2\n", "2:6: Cannot overwrite a value"),
        (b"# x\n[server\n", "2:8: Expected ']' at the end of a table declaration"),
        (b"# x\n# \xff\n", "2:3: not UTF-8"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, " nested too deeply"),
        (b"a = " + b"9" * 5000, " Exceeds the limit"),
    ],
)
def test_a_syntax_error_names_line_and_column(machine: Machine, content: bytes, place: str) -> None:
    file = machine.cwd / "relay.toml"
    file.write_bytes(content)
    file.chmod(0o600)

    assert machine.refusal().startswith(f"relay.toml:{place}")


def test_a_byte_order_mark_does_no_harm(machine: Machine) -> None:
    write(machine.user_file, "\ufeff[queue]\ndepth = 3\n")

    assert 3 == machine.load().config.queue.depth


def test_a_group_writable_file_is_read_with_a_warning(machine: Machine) -> None:
    write(machine.user_file, "[queue]\ndepth = 3", 0o660)

    loaded = machine.load()

    assert 3 == loaded.config.queue.depth
    assert f"{machine.user_file}: its group can write it" in loaded.warnings[0]


def test_an_unsafe_file_is_refused(machine: Machine) -> None:
    write(machine.user_file, "", 0o602)
    assert f"{machine.user_file}: every user can write it" in machine.refusal()

    write(machine.user_file, f"[server]\napi_key = '{KEY}'", 0o644)
    assert machine.refusal().endswith(f"Run `chmod 600 {machine.user_file}`.")

    write(machine.user_file, "[server]\napi_key = '${ENV:MY_KEY}'", 0o644)
    assert Secret(KEY) == machine.load(MY_KEY=KEY).config.server.api_key


def test_a_likely_slip_in_a_variable_is_passed_on(machine: Machine) -> None:
    (warning,) = machine.load(RELAYD_LISTEN="x").warnings

    assert warning.startswith("RELAYD_LISTEN is not a setting")


def test_a_models_file_of_the_last_release_is_read_with_its_placement(machine: Machine) -> None:
    write(
        machine.models_file,
        '[[model]]\nname = "m"\nfile = "/m.gguf"\nfit = false\n'
        'args = ["--gpu-layers", "49", "--device", "CUDA0"]',
    )

    loaded = machine.load()

    (model,) = loaded.config.model
    assert Allocation(gpu_layers=49, devices=("CUDA0",)) == model.placement
    assert ("plan", (), ()) == (model.fit, model.args, loaded.warnings)


def test_a_boolean_for_fit_in_relay_toml_is_a_warning(machine: Machine) -> None:
    write(machine.cwd / "relay.toml", '[[model]]\nname = "m"\nfile = "/m.gguf"\nfit = true')

    loaded = machine.load()

    assert "engine" == loaded.config.model[0].fit
    assert ('relay.toml:4: fit = true is now written fit = "engine"; the next release refuses it',) == (
        loaded.warnings
    )


def test_a_placement_that_makes_no_sense_is_a_problem_at_its_line(machine: Machine) -> None:
    write(
        machine.cwd / "relay.toml",
        '[[model]]\nname = "m"\nfile = "/m.gguf"\n'
        '[model.placement]\ncache_type_k = "q9"\nshares = ["a"]\nlayers = 3',
    )

    refusal = machine.refusal()

    assert 'relay.toml:5: "cache_type_k" in [placement]: expected one of f32, f16' in refusal
    assert 'relay.toml:6: number 1 of "shares" in [placement]: expected a number' in refusal
    assert 'relay.toml:7: unknown key "layers" in [placement]' in refusal
