"""Files under /proc and /sys, and the control group of this process."""

from collections.abc import Iterator
from pathlib import Path


def read_text(path: Path) -> str:
    """Return the text of a kernel file, or nothing when it is absent or closed to us."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def parse_pairs(text: str) -> dict[str, str]:
    """Return the `key: value` lines of a kernel file."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def parse_cpu_list(text: str) -> frozenset[int]:
    """Return the CPUs of a list such as `0-3,8` (Linux, cpuset(7), "List format")."""
    cpus: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def parse_groups(text: str) -> dict[str, str]:
    """Return /proc/self/cgroup as controller → path; version 2 has the controller ``.

    Lines are `hierarchy-ID:controller-list:path` (Linux, cgroups(7)).
    """
    groups = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def group_folders(root: Path, controller: str) -> tuple[int, Iterator[Path]]:
    """Return the version of a controller's hierarchy, and this process's group and its parents.

    Inside a container the path may be the host's, which does not exist under the mount: files of
    missing folders read as empty, and the mount itself, the container's own group, comes last.

    Args:
        root: The folder that holds `proc` and `sys`.
        controller: `memory` or `cpu`.
    """
    groups = parse_groups(read_text(root / "proc/self/cgroup"))
    version = 1 if controller in groups else 2
    mount = root / "sys/fs/cgroup" / (controller if version == 1 else "")
    group = Path(groups.get(controller if version == 1 else "", "/").lstrip("/"))
    return version, (mount / part for part in (group, *group.parents))


def read_number(path: Path) -> int | None:
    """Return the number in a kernel file, decimal or 0x-hexadecimal; None when there is none."""
    try:
        return int(read_text(path).strip(), 0)
    except ValueError:
        return None
