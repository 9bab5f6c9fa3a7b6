"""Is everything found that has hurt people, and nothing else?"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relayd.checkup import Finding, Patient, PlanFacts, Process, Severity, Unfinished, check_up, mend
from relayd.checkup.configuration import _summary
from relayd.config import Config, Model
from relayd.config.schema import Replicas, Server
from relayd.config.schema.stores import Models
from relayd.engine import Engine, Features
from relayd.errors import ConfigError, EngineMissing
from relayd.folders import Paths
from relayd.hardware import Cpu, Device, DeviceKind, Machine, Memory, MemoryHolder, MemoryLimit, NumaNode
from relayd.planner.ledger import DeviceRow
from relayd.secret import Secret
from relayd.units import GIB, Bytes

pytestmark = pytest.mark.system

FLAGS = frozenset({"--api-key-file", "--metrics", "--cache-ram", "--fit", "--numa", "-ngl"})
FEATURES = Features("b11434", 11434, FLAGS, {}, unix_sockets=True)
ENGINE = Engine(Path("/e/llama-server"), "installed", FEATURES)
CARD = Device(
    DeviceKind.CUDA, 0, "GPU-1", "card", Bytes(24 * GIB), Bytes(20 * GIB),
    holders=(MemoryHolder(50, "train.py", Bytes(3 * GIB)), MemoryHolder(51, "Xorg", Bytes(GIB // 4)),
             MemoryHolder(52, "llama-server", Bytes(9 * GIB))),
)  # fmt: skip
RAM = Memory(Bytes(16 * GIB), Bytes(12 * GIB))
MACHINE = Machine("linux", "x86_64", Cpu("c", 8, 16, 8), RAM)

Examine = Callable[..., dict[str, Finding]]


@pytest.fixture
def examine(tmp_path: Path) -> Examine:
    """Return what is found that is not in order, by its subject."""
    own = {name: tmp_path / name for name in ("config", "data", "cache", "state", "runtime")}
    sockets = {name: own["runtime"] / name for name in ("control_socket", "lock")}
    model = tmp_path / "m.gguf"
    model.write_bytes(b"GGUF" + b"x" * 96)

    def examine(config: Config | ConfigError | None = None, **more: Any) -> dict[str, Finding]:
        wanted = Config(server=Server(listen="127.0.0.1:0")) if config is None else config
        if isinstance(wanted, Config):
            models = tuple(Model(**{**one, "file": str(model)}) for one in more.pop("models", ()))
            wanted = msgspec.structs.replace(wanted, model=models)
        patient = Patient(
            config=wanted,
            engine=lambda: ENGINE,
            machine=MACHINE,
            paths=Paths(**own, **sockets),
            running=False,
            environ={},
            plan=PlanFacts,
            models=(own["data"] / "models",),
            root=tmp_path,
            disk_free=lambda _: 100 * GIB,
        )
        findings = check_up(replace(patient, **more))
        given = {"descriptors", "user"}  # what the machine of the tests is
        return {
            one.subject: one for one in findings if one.level is not Severity.OK and one.subject not in given
        }

    return examine


def put(file: Path, text: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_a_good_machine_has_nothing(examine: Examine) -> None:
    assert {} == examine(models=[{"name": "m"}])


def test_a_configuration_that_cannot_be_read_hides_nothing_else(examine: Examine) -> None:
    def missing() -> Engine:
        raise EngineMissing("no llama-server was found", remedy="relayd engine install")

    found = examine(ConfigError("relay.toml:3: nonsense"), engine=missing)
    assert ["configuration", "engine"] == list(found)
    assert "relayd engine install" == found["engine"].remedy


def test_models_larger_than_the_machine_are_a_problem_and_than_its_free_memory_a_note(
    examine: Examine,
) -> None:
    small = replace(MACHINE, memory=Memory(Bytes(99), Bytes(50)))
    assert (
        Severity.PROBLEM
        is examine(models=[{"name": "m", "cache_ram_mib": 0}], machine=small)["model size"].level
    )
    busy = replace(MACHINE, memory=Memory(Bytes(16 * GIB), Bytes(99)))
    assert (
        Severity.NOTE is examine(models=[{"name": "m", "cache_ram_mib": 0}], machine=busy)["model size"].level
    )


def test_prompt_caches_count_as_planned_not_as_the_lines_allow(examine: Examine) -> None:
    lines = [{"name": "m", "replicas": 5, "cache_ram_mib": 2048}]
    assert {} == examine(models=lines, plan=lambda: PlanFacts(prompt_caches=Bytes(8 * GIB)))
    found = examine(models=lines, plan=lambda: PlanFacts(prompt_caches=Bytes(9 * GIB)))
    assert "they may grow to 9.0 GiB of 16 GiB RAM" == found["prompt caches"].detail


def test_without_a_plan_nothing_is_said_of_memory(examine: Examine) -> None:
    def unplanned() -> PlanFacts:
        raise EngineMissing("there is none")

    assert {} == examine(models=[{"name": "m"}], plan=unplanned)


@pytest.mark.parametrize(("others", "notes"), [(4, set()), (12, {"memory"})])
def test_memory_that_other_programs_hold_is_a_note_where_the_plan_needs_it(
    examine: Examine, others: int, notes: set[str]
) -> None:
    planned, measured = Bytes(10 * GIB), Bytes(9 * GIB)
    held, free = Bytes(others * GIB), Bytes(6 * GIB)
    row = DeviceRow("host", "CPU", Bytes(20 * GIB), planned, measured, held, free, "of 24 GiB")
    found = examine(models=[{"name": "m"}], plan=lambda: PlanFacts(ledger=(row,)))

    assert notes == found.keys()
    for one in found.values():
        assert one.detail == (
            f"host: 10 GiB planned, 9.0 GiB measured, {others} GiB held by other programs, "
            "6.0 GiB free of 20 GiB that models may take"
        )


def test_models_that_cannot_be_loaded_are_problems_and_those_on_demand_are_none(examine: Examine) -> None:
    facts = PlanFacts(on_demand=("a", "b"), refused={"c": "c#0 cannot be loaded: it needs 9 GiB"})
    found = examine(models=[{"name": "a"}], plan=lambda: facts)

    assert {"on demand": "c#0 cannot be loaded: it needs 9 GiB"} == {
        name: one.detail for name, one in found.items()
    }


def test_a_model_that_is_too_large_is_reported_once(examine: Examine) -> None:
    small = replace(MACHINE, memory=Memory(Bytes(99), Bytes(50)))
    facts = PlanFacts(refused={"m": "m#0 cannot be loaded: it needs 9 GiB"})
    found = examine(models=[{"name": "m"}], machine=small, plan=lambda: facts)

    assert "on demand" in found
    assert "model size" not in found


@pytest.mark.parametrize(
    ("models", "offered", "detail"),
    [
        ((), 3, "no model is configured, so 3 models on disk can be served"),
        ((), 1, "no model is configured, so 1 model on disk can be served"),
        ((), 0, "0 models"),
        ((Model(name="m", file="/m.gguf"),), 1, "1 model"),
    ],
)
def test_the_models_that_are_served_are_counted(models: tuple[Model, ...], offered: int, detail: str) -> None:
    summary = _summary(Config(model=models), PlanFacts(offered=offered), ())

    assert f"{detail} (no file, so all defaults)" == summary


def test_a_door_for_others_needs_the_names_they_call_it_by(examine: Examine) -> None:
    key = Secret("x" * 32)
    name = socket.gethostname()
    assert name in examine(Config(server=Server(listen="0.0.0.0:0", api_key=key)))["host names"].remedy
    named = Server(listen="0.0.0.0:0", api_key=key, allowed_hosts=(name,))
    assert {} == examine(Config(server=named))
    assert "RELAYD_API_KEY" in examine(Config(server=Server(listen="0.0.0.0:0")))["exposure"].remedy


def test_ports_that_others_hold_are_found(examine: Examine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        tcp = Replicas(listen="tcp", ports=f"{port}-{port}")
        found = examine(
            Config(server=Server(listen=f"127.0.0.1:{port}"), replicas=tcp), models=[{"name": "m"}]
        )
    assert Severity.PROBLEM is found["port"].level
    assert f"0 of {port}-{port} are free, for 1 replicas" == found["replica ports"].detail


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--gpu_layer", "3"), "--gpu-layer"),
        (("-ngl", "-1", "--numa", "x"), None),
        (("--port", "1"), "--port"),
    ],
)
def test_flags_are_held_against_the_engine(examine: Examine, args: Sequence[str], said: str | None) -> None:
    found = examine(models=[{"name": "m", "args": args}])
    assert (said is None) == ("flags" not in found)
    assert said is None or said in found["flags"].detail


@pytest.mark.parametrize("flag", ["--model-draft", "--control-vector", "--chat-template-file", "-jf"])
def test_files_that_args_name_are_looked_at(examine: Examine, tmp_path: Path, flag: str) -> None:
    there = put(tmp_path / "there", "GGUF and more")
    assert "model files" not in examine(models=[{"name": "m", "args": (flag, str(there))}])
    found = examine(models=[{"name": "m", "args": (flag, str(tmp_path / "gone"))}])["model files"]
    assert Severity.PROBLEM is found.level
    assert found.detail.startswith(f"args of m: {tmp_path}/gone does not exist")
    assert "" == found.remedy
    relative = examine(models=[{"name": "m", "args": (flag, "gone")}])["model files"]
    assert f"Write the whole path: llama-server runs in {tmp_path}/runtime." == relative.remedy


def test_r59_an_engine_that_is_old_or_lacks_something_is_named_with_what_helps(examine: Examine) -> None:
    old = replace(ENGINE, features=Features("b1", 1, frozenset({"--metrics"}), {}, unix_sockets=False))
    found = examine(engine=lambda: old)
    assert {"engine age", "engine features", "engine sockets"} == set(found)
    assert "engine sockets" not in examine(Config(replicas=Replicas(listen="tcp")), engine=lambda: old)


def test_a_file_that_the_engine_reads_flags_from_is_a_problem(examine: Examine, tmp_path: Path) -> None:
    put(tmp_path / "etc/llama.cpp/config.ini")
    assert Severity.PROBLEM is examine()["engine configuration"].level


def test_what_others_hold_of_a_gpu_is_told_and_what_is_ours_or_little_is_not(examine: Examine) -> None:
    ours = Process(52, Bytes(GIB), "/r")
    found = examine(machine=replace(MACHINE, gpus=(CARD,)), servers=lambda: [ours])
    assert ["train.py (pid 50) holds 3.0 GiB"] == [one.detail for one in found.values()]


def test_what_the_machine_notes_is_told_with_its_remedy(examine: Examine) -> None:
    note = "The engine does not list cuda0, card, so no model runs on it: relayd engine install"
    found = examine(machine=replace(MACHINE, notes=(note,)), environ={"ROCR_VISIBLE_DEVICES": "GPU-7"})
    assert "Unset ROCR_VISIBLE_DEVICES." == found["devices"].remedy
    assert (
        "Run `relayd engine install`." == examine(machine=replace(MACHINE, notes=(note,)))["devices"].remedy
    )


def test_files_of_drivers_that_cannot_be_opened_are_a_problem(examine: Examine, tmp_path: Path) -> None:
    put(tmp_path / "dev/dri/renderD128")
    put(tmp_path / "dev/kfd")
    assert {} == examine()
    found = examine(may_open=lambda file: file.name != "kfd")["permissions"]
    assert (Severity.PROBLEM, f"this user may not open {tmp_path}/dev/kfd") == (found.level, found.detail)


def test_limits_of_a_control_group_are_told(examine: Examine) -> None:
    limited = Memory(Bytes(16 * GIB), Bytes(12 * GIB), MemoryLimit(Bytes(4 * GIB), Bytes(0), Bytes(0)))
    assert "control group" in examine(machine=replace(MACHINE, memory=limited))
    slow = replace(MACHINE, cpu=Cpu("c", 8, 16, 8, quota_cores=1.5))
    assert "CPU time of 1.5 cores" in examine(machine=slow)["control group"].detail


@pytest.mark.parametrize(("balancing", "told"), [("0\n", False), ("1\n", True)])
def test_pages_that_move_between_nodes_are_told(
    examine: Examine, tmp_path: Path, balancing: str, *, told: bool
) -> None:
    put(tmp_path / "proc/sys/kernel/numa_balancing", balancing)
    nodes = tuple(NumaNode(index, Bytes(8 * GIB), Bytes(GIB), frozenset({index})) for index in range(2))
    assert told == ("memory nodes" in examine(machine=replace(MACHINE, nodes=nodes)))
    assert {} == examine(machine=replace(MACHINE, nodes=nodes[:1]))


def test_models_and_sockets_on_file_systems_of_elsewhere_are_told(examine: Examine, tmp_path: Path) -> None:
    put(tmp_path / "proc/mounts", f"/dev/sda / ext4 rw 0 0\nhost:/x {tmp_path} nfs4 rw 0 0\n")
    found = examine(models=[{"name": "m"}])
    assert "m is read over nfs4" in found["model files"].detail
    assert Severity.PROBLEM is found["runtime folder"].level


def test_servers_that_nobody_looks_after_are_told(examine: Examine, tmp_path: Path) -> None:
    stray, orphan = Process(7, Bytes(GIB), ""), Process(8, Bytes(GIB), str(tmp_path / "runtime"))
    strangers = [Process(9, Bytes(GIB), "/another/runtime"), Process(10, Bytes(GIB), "?")]
    assert "(pid 7) holds 1.0 GiB" in examine(servers=lambda: [stray, *strangers])["also running"].detail
    assert "adopts it" in examine(servers=lambda: [orphan])["left over"].remedy
    assert {} == examine(servers=lambda: [orphan, *strangers], running=True)


def test_a_server_that_a_person_started_is_shown_with_port_user_and_age(examine: Examine) -> None:
    by_hand = Process(26523, Bytes(2 * GIB), "", "anna", "8081", 3 * 3600.0)
    found = examine(servers=lambda: [by_hand])["also running"]

    assert (Severity.NOTE, "") == (found.level, found.remedy)
    assert (
        "a llama-server that relayd did not start (pid 26523, port 8081, user anna, for 3 h) "
        "holds 2.0 GiB of RAM"
    ) == found.detail


def test_a_cut_model_is_a_problem_and_not_ok(examine: Examine) -> None:
    why = "the tensors' data needs 346944 bytes of file, it has 200000"
    found = examine(models=[{"name": "m"}], damaged={"m": why})["model files"]

    assert (Severity.PROBLEM, f"model m: {why}") == (found.level, found.detail)


def test_a_folder_of_models_that_is_not_there_is_a_problem(examine: Examine, tmp_path: Path) -> None:
    folders = (str(tmp_path / "nodir"), str(tmp_path), str(put(tmp_path / "file")))
    server = Server(listen="127.0.0.1:0")
    for folder, why in ((folders[0], "does not exist"), (folders[2], "is not a folder")):
        config = Config(server=server, models=Models(folders=(folder, folders[1])))
        assert f"{folder} {why}" == examine(config)["folders of models"].detail


def test_a_configuration_that_the_daemon_has_not_read_yet_is_a_note(examine: Examine) -> None:
    assert "changed since the daemon read it: + new" == examine(pending="+ new")["configuration"].detail


def test_key_files_that_others_may_read_are_mended(examine: Examine, tmp_path: Path) -> None:
    file = put(tmp_path / "keys/m#0.key")
    for mode, found in ((0o600, False), (0o640, True), (0o604, True)):
        file.chmod(mode)
        assert found == ("file rights" in examine(secret_files=(file,)))

    (mended,) = mend([examine(secret_files=(file,))["file rights"]])

    assert Severity.FIXED is mended.level
    assert {} == examine(secret_files=(file,))


def test_a_folder_that_others_may_enter_is_mended(examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "runtime").mkdir(mode=0o755)
    (mended,) = mend([examine()["folders"]])

    assert (Severity.FIXED, {}) == (mended.level, examine())


def test_a_pull_without_a_byte_is_taken_off_the_list(examine: Examine) -> None:
    removed: list[str] = []
    empty = Unfinished("nope", 0, "0 B", "https://x/nope.gguf", lambda: removed.append("nope"))
    half = Unfinished("half", 5, "5 B of 9 B downloaded", "half", lambda: removed.append("half"))

    assert "relayd pull half" in examine(unfinished=(half,))["unfinished pull"].remedy
    found = [examine(unfinished=(one,))["unfinished pull"] for one in (empty, half)]
    assert [Severity.FIXED, Severity.NOTE] == [one.level for one in mend(found)]
    assert ["nope"] == removed


def test_a_fix_that_fails_leaves_the_finding_with_the_reason() -> None:
    def fails() -> None:
        raise PermissionError("not yours")

    (left,) = mend([Finding("s", Severity.PROBLEM, "d", "Run it.", fails)])
    assert (Severity.PROBLEM, "d; it cannot be mended: not yours") == (left.level, left.detail)


def test_a_service_that_ends_at_logout_is_told(examine: Examine, tmp_path: Path) -> None:
    put(tmp_path / "systemd/user/relayd.service")
    user = examine()["service"].remedy.rpartition(" ")[2].removesuffix("`.")
    put(tmp_path / "var/lib/systemd/linger" / user)
    assert {} == examine()


def test_a_disk_that_is_nearly_full_is_told_once(examine: Examine) -> None:
    found = examine(disk_free=lambda _: GIB)
    assert ["disk of state"] == list(found)
    assert found["disk of state"].detail.startswith("1.0 GiB free")


def test_a_virtual_machine_of_windows_is_told(examine: Examine, tmp_path: Path) -> None:
    put(tmp_path / "proc/sys/kernel/osrelease", "6.6.0-microsoft-standard-WSL2")
    assert ".wslconfig" in examine()["WSL"].remedy


def test_files_that_cannot_be_served_are_noted(examine: Examine) -> None:
    found = examine(skipped=("1 file is skipped: /m/eyes.gguf is a projector",))
    assert "1 file is skipped: /m/eyes.gguf is a projector" == found["models on disk"].detail


@pytest.mark.parametrize("why", ["", "bubblewrap is not installed"])
def test_a_sandbox_that_cannot_be_made_is_a_problem(examine: Examine, why: str) -> None:
    boxed = Config(server=Server(listen="127.0.0.1:0"), replicas=Replicas(sandbox="bwrap"))

    found = examine(boxed, no_sandbox=lambda: why)

    assert bool(why) == ("sandbox" in found)
    if why:
        assert why in found["sandbox"].detail
        assert "apt install bubblewrap" in found["sandbox"].remedy
    assert "sandbox" not in examine(no_sandbox=lambda: "it is not asked for")
