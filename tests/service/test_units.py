"""What do the files say that relayd writes for systemd and launchd?"""

import plistlib

import pytest

from relayd.config import Config
from relayd.service.budget import stop_budget_seconds
from relayd.service.units import (
    Service,
    is_ours,
    launchd_plist,
    systemd_service,
    systemd_socket,
    sysusers,
)
from tests.service.unitfile import service, settings

pytestmark = pytest.mark.pure

HARDENING = """
NoNewPrivileges=yes ProtectSystem=strict ProtectHome=read-only UMask=0077 PrivateTmp=yes
StateDirectoryMode=0700 RuntimeDirectoryMode=0700 CacheDirectoryMode=0700
ProtectKernelTunables=yes ProtectKernelModules=yes ProtectKernelLogs=yes ProtectControlGroups=yes
ProtectClock=yes ProtectHostname=yes RestrictSUIDSGID=yes RestrictNamespaces=yes RestrictRealtime=yes
LockPersonality=yes CapabilityBoundingSet= AmbientCapabilities= SystemCallArchitectures=native
SystemCallFilter=@system-service ProtectProc=invisible OOMPolicy=continue DevicePolicy=closed
IPAddressDeny=any IPAddressAllow=localhost User=relayd
""".split()

WITHOUT_PRIVILEGE = """
NoNewPrivileges=yes UMask=0077 RestrictSUIDSGID=yes RestrictNamespaces=yes RestrictRealtime=yes
LockPersonality=yes SystemCallArchitectures=native SystemCallFilter=@system-service OOMPolicy=continue
""".split()

NAMESPACED = (
    "User ProtectSystem ProtectHome PrivateTmp ProtectProc CapabilityBoundingSet DevicePolicy".split()
)
"""What a session's manager has no right to do."""


def budget(config: Config) -> float:
    replicas = config.replicas
    return stop_budget_seconds(replicas.drain_seconds, replicas.stop_seconds, replicas.kill_seconds)


def unit(**changes: object) -> dict[str, list[str]]:
    return settings(systemd_service(service(**changes)))


@pytest.mark.parametrize("system", [True, False])
def test_s79_a_child_killed_for_memory_ends_nothing_else(system: bool) -> None:
    assert ["continue"] == unit(system=system)["Service.OOMPolicy"]


@pytest.mark.parametrize("system", [True, False])
def test_s79_a_stop_has_more_time_than_drain_stop_and_kill_take(system: bool) -> None:
    replicas = Config().replicas
    configured = replicas.drain_seconds + replicas.stop_seconds + replicas.kill_seconds

    (limit,) = unit(system=system, stop_seconds=budget(Config()))["Service.TimeoutStopSec"]

    assert float(limit) > configured
    assert float(limit) >= budget(Config())


def test_s80_launchd_waits_longer_than_a_stop_takes_and_leaves_replicas_alone() -> None:
    plist = plistlib.loads(launchd_plist(service(stop_seconds=budget(Config()))).encode())
    replicas = Config().replicas

    assert plist["AbandonProcessGroup"] is True
    assert plist["ExitTimeOut"] > replicas.drain_seconds + replicas.stop_seconds + replicas.kill_seconds
    assert {"SuccessfulExit": False} == plist["KeepAlive"]


def test_an_agent_is_a_person_and_a_daemon_has_a_user_of_its_own() -> None:
    agent, daemon = (plistlib.loads(launchd_plist(service(system=one)).encode()) for one in (False, True))

    assert "UserName" not in agent
    assert "_relayd" == daemon["UserName"]
    assert ["/opt/relayd/bin/relayd", "serve"] == daemon["ProgramArguments"]
    assert {"RELAYD_RUNTIME_DIR": "/run/relayd"} == daemon["EnvironmentVariables"]
    assert 0o077 == daemon["Umask"]


@pytest.mark.parametrize("line", HARDENING)
def test_r60_the_machines_unit_is_fenced_in(line: str) -> None:
    key, _, value = line.partition("=")

    assert [value] == unit()[f"Service.{key}"]


@pytest.mark.parametrize("line", WITHOUT_PRIVILEGE)
def test_a_sessions_unit_is_fenced_in_as_far_as_it_may_be(line: str) -> None:
    key, _, value = line.partition("=")

    assert [value] == unit(system=False)[f"Service.{key}"]


@pytest.mark.parametrize("key", NAMESPACED)
def test_a_sessions_unit_asks_for_nothing_it_cannot_have(key: str) -> None:
    assert f"Service.{key}" not in unit(system=False)


def test_r60_gpus_can_be_used() -> None:
    found = unit()

    assert ["char-nvidia* rw", "char-drm rw", "char-kfd rw"] == found["Service.DeviceAllow"]
    assert not {"Service.PrivateDevices", "Service.MemoryDenyWriteExecute"} & found.keys()


def test_a_daemon_that_other_machines_reach_may_answer_them() -> None:
    assert "Service.IPAddressDeny" not in unit(local=False)


@pytest.mark.parametrize("system", [True, False])
def test_the_manager_watches_restarts_and_reloads_the_daemon_alone(system: bool) -> None:
    found = unit(system=system)

    assert ["notify"] == found["Service.Type"]
    assert ["main"] == found["Service.NotifyAccess"]
    assert ["30"] == found["Service.WatchdogSec"]
    assert ["on-failure"] == found["Service.Restart"]
    assert {"Service.RestartSec", "Service.RestartSteps", "Service.RestartMaxDelaySec"} <= found.keys()
    assert ["process"] == found["Service.KillMode"]
    assert ["/bin/kill -HUP $MAINPID"] == found["Service.ExecReload"]


def test_sockets_and_keys_survive_a_restart() -> None:
    found = unit()

    assert ["relayd"] == found["Service.RuntimeDirectory"]
    assert ["yes"] == found["Service.RuntimeDirectoryPreserve"]
    assert ["RELAYD_RUNTIME_DIR=/run/relayd"] == found["Service.Environment"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/opt/my models/relay.toml", '"/opt/my models/relay.toml"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('a"b', r'"a\"b"'),
        (r"a\b", r'"a\\b"'),
        ("it's", '"it\'s"'),
        ("a;b", '"a;b"'),
    ],
)
def test_words_of_the_command_stay_what_they_are(word: str, expected: str) -> None:
    (command,) = unit(command=("/bin/relayd", word))["Service.ExecStart"]

    assert f"/bin/relayd {expected}" == command


def test_a_sessions_unit_says_home_and_the_machines_unit_never() -> None:
    places: dict[str, object] = {
        "command": ("/home/me/bin/relayd", "/home/meadow"),
        "environment": {"RELAYD_RUNTIME_DIR": "/home/me/run", "NOTE": "see /home/me"},
        "environment_file": "/home/me/my env",
    }
    own, machines = unit(system=False, **places), unit(**places)

    assert ["%h/bin/relayd /home/meadow"] == own["Service.ExecStart"]
    assert ["RELAYD_RUNTIME_DIR=%h/run", '"NOTE=see /home/me"'] == own["Service.Environment"]
    assert ["-%h/my env"] == own["Service.EnvironmentFile"]
    assert ["/home/me/bin/relayd /home/meadow"] == machines["Service.ExecStart"]


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "[::1]:8080"])
def test_the_socket_unit_listens_where_the_daemon_would(listen: str) -> None:
    found = settings(systemd_socket(service(listen=listen)))

    assert [listen] == found["Socket.ListenStream"]
    assert ["512"] == found["Socket.Backlog"]


def test_the_socket_unit_listens_on_each_address() -> None:
    found = settings(systemd_socket(service(listen="127.0.0.1:8080 127.0.0.1:11434")))

    assert ["127.0.0.1:8080", "127.0.0.1:11434"] == found["Socket.ListenStream"]


def test_the_user_may_use_gpus() -> None:
    assert {"m relayd render", "m relayd video"} <= set(sysusers().splitlines())


def every_file(one: Service) -> list[str]:
    return [systemd_service(one), systemd_socket(one), sysusers(), launchd_plist(one)]


@pytest.mark.parametrize("text", every_file(service()))
def test_a_file_is_known_again_until_somebody_changes_it(text: str) -> None:
    assert is_ours(text.encode())
    assert not is_ours(text.replace("relayd", "relay", 3).encode())
    assert not is_ours(f"{text}\n".encode())


@pytest.mark.parametrize(
    "data", [b"", b"[Service]\nExecStart=/bin/true\n", b"\xff\xfe", b"# Written by relayd."]
)
def test_a_file_of_somebody_else_is_not_ours(data: bytes) -> None:
    assert not is_ours(data)
