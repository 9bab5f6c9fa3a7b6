"""Reads units as systemd does, as far as these tests need it."""

from collections import defaultdict

from relayd.service.units import Service


def settings(text: str) -> dict[str, list[str]]:
    """Return `Section.Key` with every value it is given."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals, line
            found[f"{section}.{key}"].append(value)
    return dict(found)


def service(**changes: object) -> Service:
    values: dict[str, object] = {
        "command": ("/opt/relayd/bin/relayd", "serve"),
        "system": True,
        "environment": {"RELAYD_RUNTIME_DIR": "/run/relayd"},
        "environment_file": "/etc/relayd/environment",
        "stop_seconds": 60.0,
        "listen": "127.0.0.1:8080",
        "log": "/var/lib/relayd/service.log",
        "home": "/home/me",
    }
    return Service(**(values | changes))  # type: ignore[arg-type]  # a test names one field, the rest is given
