"""Who is a victim of the kernel's out-of-memory killer, by its log and by its counts."""

from pathlib import Path

import pytest

from relayd.hardware import OomKills

pytestmark = pytest.mark.system

LOG = """\
6,1201,88012345,-;oom_reaper: reaped process 4711 (llama-server), now anon-rss:0kB
3,1202,88012399,-;Out of memory: Killed process 4712 (llama-server) total-vm:9000kB
3,1203,88013000,-;Memory cgroup out of memory: Killed process 4713 (llama-server) total-vm:1kB
"""

V1 = "sys/fs/cgroup/memory/group/memory.oom_control"
V2 = "sys/fs/cgroup/group/memory.events"


def machine(
    root: Path, *, groups: str, namespace: str = "pid:[4026531836]", log: str | None = None
) -> OomKills:
    own = root / "proc/self/ns"
    own.mkdir(parents=True)
    (own / "pid").symlink_to(namespace)
    (root / "proc/self/cgroup").write_text(groups)
    if log is not None:
        (root / "dev").mkdir()
        (root / "dev/kmsg").write_text(log)
    return OomKills(root)


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_the_kernels_log_names_its_victims(tmp_path: Path) -> None:
    kills = machine(tmp_path, groups="0::/\n", log=LOG)

    assert {4712, 4713} == {pid for pid in range(4710, 4715) if kills.ended(pid)}


@pytest.mark.parametrize(
    ("groups", "file", "text"),
    [
        ("0::/group\n", V2, "low 0\noom 9\noom_kill {}\noom_group_kill 0\n"),
        ("4:memory:/group\n0::/\n", V1, "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"),
    ],
)
@pytest.mark.parametrize("log", [None, LOG])
def test_where_its_pids_mean_others_the_count_of_the_group_must_have_risen(
    tmp_path: Path, groups: str, file: str, text: str, log: str | None
) -> None:
    write(tmp_path, file, text.format(7))
    kills = machine(tmp_path, groups=groups, namespace="pid:[4026532001]", log=log)

    assert not kills.ended(4712)
    write(tmp_path, file, text.format(8))
    assert kills.ended(1)
    assert not kills.ended(1), "it has been told of"


def test_a_machine_that_tells_nothing_blames_nobody(tmp_path: Path) -> None:
    assert not OomKills(tmp_path).ended(1)


def test_this_machine_is_asked_in_vain_for_a_process_that_lives() -> None:
    assert not OomKills().ended(1)
