"""What may a replica in a sandbox see and write?"""

from pathlib import Path

import pytest

from relayd.engine.sandbox import SandboxFolder, folders_of, sandboxed

pytestmark = pytest.mark.pure

COMMAND = ("/opt/e/bin/llama-server", "--model", "/m/a.gguf")


def made(**changes: object) -> tuple[str, ...]:
    known: dict[str, object] = {
        "readable": (Path("/opt/e/bin"), Path("/m/a.gguf"), Path("/m/a.gguf")),
        "folder": SandboxFolder(Path("/run/r/ab.box"), Path("/run/r")),
        "devices": (Path("/dev/dri"),),
        "variables": {"RELAYD_REPLICA": "m#0"},
    }
    return sandboxed(Path("/usr/bin/bwrap"), COMMAND, **(known | changes))  # type: ignore[arg-type] # as given


def pairs(argv: tuple[str, ...], flag: str) -> list[tuple[str, ...]]:
    return [argv[at + 1 : at + 3] for at, one in enumerate(argv) if one == flag]


def test_r62_a_replica_in_a_sandbox_writes_to_its_own_folder_alone() -> None:
    argv = made()

    assert [("/run/r/ab.box", "/run/r")] == pairs(argv, "--bind")
    assert [("/opt/e/bin", "/opt/e/bin"), ("/m/a.gguf", "/m/a.gguf")] == pairs(argv, "--ro-bind")
    assert [("/dev/dri", "/dev/dri")] == pairs(argv, "--dev-bind-try")
    assert ("--tmpfs", "/tmp") == argv[argv.index("--tmpfs") :][:2]
    assert not {"/home", "/root", "/etc", "/var", "/run", "/"} & set(argv)


def test_r62_a_replica_in_a_sandbox_has_no_network_and_sees_no_other_process() -> None:
    assert {"--unshare-net", "--unshare-pid", "--unshare-ipc", "--new-session"} <= set(made())


def test_a_replica_in_a_sandbox_outlives_the_daemon() -> None:
    assert "--die-with-parent" not in made()


def test_what_runs_inside_is_what_would_run_outside() -> None:
    argv = made()

    assert COMMAND == argv[argv.index("--") + 1 :]
    assert ("RELAYD_REPLICA", "m#0") in pairs(argv, "--setenv")
    assert "/usr/bin/bwrap" == argv[0]


def test_its_own_tmp_hides_no_model_that_is_in_there() -> None:
    argv = made(readable=(Path("/tmp/m.gguf"),))

    assert argv.index("--tmpfs") < argv.index("/tmp/m.gguf")


def test_libraries_beside_a_program_come_with_it(tmp_path: Path) -> None:
    for name in ("bin", "lib"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin" / "llama-server").touch()
    (tmp_path / "link").symlink_to(tmp_path / "bin" / "llama-server")

    assert [tmp_path / "bin", tmp_path / "lib"] == folders_of(tmp_path / "link")
