"""Do keys, limits and usage hold on a running daemon, whatever ends it, and is no secret left anywhere?"""

import contextlib
import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest

from relayd.client.control import Client
from relayd.daemon.arguments import UsageArguments
from relayd.rights import KeyLimits, KeyRights, Quota
from relayd.secret import Secret
from tests.daemons import DEADLINE_SECONDS, Daemon, tagged_processes, wait_until

pytestmark = pytest.mark.real

CONFIGURED = "canary-configured-2b9f61d07c"
FOREIGN = "canary-imported-7730e1ba4d52"
WRONG = "canary-wrong-51c20a9e7f43d8"
PROMPT = "canaryprompt90d1f7"
CHAT = "/v1/chat/completions"


def ask(daemon: Daemon, key: str, path: str = CHAT, **members: Any) -> tuple[int, dict[str, str], str]:
    """Send a request, a GET without members, and return status, fields and body of the answer."""
    host, port = daemon.url.removeprefix("http://").split(":")
    fields = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    method, body = ("POST", json.dumps(members)) if members else ("GET", None)
    with contextlib.closing(HTTPConnection(host, int(port), timeout=DEADLINE_SECONDS)) as connection:
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, named, answer.read().decode()


def chat(daemon: Daemon, key: str = "", **members: Any) -> int:
    messages = [{"role": "user", "content": "Hello"}]
    return ask(daemon, key, **{"messages": messages, "max_tokens": 4, **members})[0]


def used(client: Client, key: str) -> tuple[int, int]:
    """Return requests and tokens of a key."""
    rows = client.usage(UsageArguments(key=key)).rows
    return sum(row.requests for row in rows), sum(row.tokens for row in rows)


def test_a_key_is_limited_and_counted_over_a_kill_and_an_upgrade(start_daemon: Callable[..., Daemon]) -> None:
    first = start_daemon("", "--demo")
    assert 200 == chat(first, "a-dummy-key-of-a-client")
    made = first.client.create_key("laptop", KeyRights(quotas=(Quota("requests", 100, "month"),)))
    first.await_event("door_closed")
    assert [401, 200, 200] == [chat(first), chat(first, made.secret), chat(first, made.secret)]
    written = used(first.client, "laptop")
    assert written[0] == 2
    chat(first, made.secret)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()

    second = start_daemon("", "--demo")
    requests, tokens = used(second.client, "laptop")
    assert (requests, tokens) in (written, (3, written[1] * 3 // 2))
    second.client.upgrade(drain_seconds=DEADLINE_SECONDS)
    assert [401, 200] == [chat(second), chat(second, made.secret)]
    assert requests + 1 == used(second.client, "laptop")[0]
    (key,) = second.client.keys().keys
    assert {"requests=100/month": requests + 1} == key.spent
    assert second.client.configuration().key, "commands are lent a key"
    assert 200 == chat(second, second.client.configuration().key)


def tokens_of(
    daemon: Daemon, path: str, *, events: int | None = None, off: bool = False, **members: Any
) -> int:
    """Return what a request with a key of its own cost; after some events its client leaves, if it is to."""
    made = daemon.client.create_key(f"k{len(daemon.client.keys().keys)}", KeyRights())
    fields = {"Authorization": f"Bearer {made.secret}", "Content-Type": "application/json"}
    fields |= {"X-Relayd-Continue": "off"} if off else {}
    host, port = daemon.url.removeprefix("http://").split(":")
    with contextlib.closing(HTTPConnection(host, int(port), timeout=DEADLINE_SECONDS)) as connection:
        connection.request("POST", path, json.dumps(members), fields)
        if events == 0:
            wait_until(lambda: any(model.running for model in daemon.client.status().models))
        else:
            answer, seen = connection.getresponse(), 0
            assert 200 == answer.status
            while events and seen < events:
                seen += answer.readline().startswith(b"data: ")
            if events is None:
                answer.read()
    wait_until(lambda: used(daemon.client, made.key.id)[0] == 1)
    return used(daemon.client, made.key.id)[1]


LEFT = 30
"""Events after which a client leaves."""


def test_every_form_of_an_answer_counts_its_tokens_also_one_that_its_client_leaves(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(f'[[model]]\nname = "slow"\nfile = "{slow_model}"\nslots = 4\ncontext = 2048\n')
    long: dict[str, Any] = {"n_predict": 1500, "ignore_eos": True, "stream": True}
    prompt: dict[str, Any] = {"prompt": "word " * 40}
    chat: dict[str, Any] = {
        "messages": [{"role": "user", "content": "word " * 40}],
        "max_tokens": 1500,
        **long,
    }
    fields: dict[str, Any] = {**prompt, "n_predict": 8, "ignore_eos": True, "response_fields": ["content"]}
    plain = tokens_of(daemon, "/completion", **prompt, n_predict=8, ignore_eos=True)

    assert plain == tokens_of(daemon, "/completion", **fields)
    assert plain == tokens_of(daemon, "/completion", **fields, stream=True)
    assert plain == tokens_of(daemon, "/completions", **fields)
    assert 2 * plain == tokens_of(daemon, "/completion", **{**fields, "prompt": [prompt["prompt"]] * 2})
    both: dict[str, Any] = {"prompt": [prompt["prompt"]] * 2, "max_tokens": 8, "ignore_eos": True}
    assert plain * 3 // 2 < tokens_of(daemon, "/v1/completions", **both)

    for path, members in (("/completion", {**prompt, **long}), ("/v1/chat/completions", chat)):
        for off in (False, True):
            assert LEFT <= tokens_of(daemon, path, events=LEFT, off=off, **members) < 1500
    assert 0 < tokens_of(daemon, "/completion", events=0, **prompt, n_predict=1500, ignore_eos=True)


def test_one_key_that_floods_is_held_to_its_limits_and_another_is_served(demo: Daemon) -> None:
    flooding = demo.client.create_key("flood", KeyRights(limits=KeyLimits(rpm=1))).secret
    honest = demo.client.create_key("honest", KeyRights()).secret

    flood = [chat(demo, flooding) for _ in range(6)]
    answers = [chat(demo, honest) for _ in range(3)]
    asked = (ask(demo, flooding, messages=[], max_tokens=1) for _ in range(10))
    refused = next(answer for answer in asked if answer[0] == 429)

    assert (200, [200] * 3) == (flood[0], answers)
    assert 429 in flood
    assert "retry-after" in refused[1]
    assert "rate_limit_exceeded" == json.loads(refused[2])["error"]["code"]


def test_r20_no_planted_secret_or_prompt_is_left_anywhere_not_even_by_a_crash(
    start_daemon: Callable[..., Daemon], home: Path
) -> None:
    daemon = start_daemon('[logs]\nrequests = "all"\n', "--demo", RELAYD_API_KEY=CONFIGURED)
    made = daemon.client.create_key("made", KeyRights(limits=KeyLimits(rpm=1000))).secret
    daemon.client.import_key("imported", Secret(FOREIGN), KeyRights(scopes=("inference", "metrics")))
    planted = (CONFIGURED, made, FOREIGN, WRONG, PROMPT)
    shown = [body for key in planted[:4] for body in provoke(daemon, key)]
    commands = seen_commands(home)
    crash(daemon)
    assert 200 == chat(daemon, made, messages=[{"role": "user", "content": PROMPT}])
    shown += [daemon.run(*arguments).stdout for arguments in (("status", "--json"), ("keys", "--json"))]
    shown += [str(daemon.client.usage(UsageArguments()))]
    daemon.client.rotate_key("made")
    crash_itself(daemon)

    found = {
        (secret, place)
        for secret in planted
        for place, text in (*commands, *enumerate(shown), *left_in(home), ("stderr", daemon.stderr))
        if secret in text
    }

    assert set() == found


def provoke(daemon: Daemon, key: str) -> Iterator[str]:
    """Yield what relayd writes to good and bad requests with a prompt; answers of the model are left out."""
    messages = [{"role": "user", "content": PROMPT}]
    ask(daemon, key, messages=messages, max_tokens=8)
    ask(daemon, key, messages=messages, max_tokens=8, stream=True)
    yield ask(daemon, key, messages=messages, model="absent")[2]
    yield ask(daemon, key, messages=messages, max_tokens="many")[2]
    yield ask(daemon, key, messages=messages, grammar="root ::= undefined-rule")[2]
    yield ask(daemon, key, "/v1/nothing", messages=messages)[2]
    yield ask(daemon, key, messages=messages * 20000)[2]
    for path in READ:
        yield ask(daemon, key, path)[2]


READ = (
    *("/health", "/metrics", "/slots", "/v1/models", "/props", "/openapi.json", "/lora-adapters", "/api/ps"),
    *("/models/demo/metrics", "/models/demo/slots", "/admin/status", "/admin/stats", "/admin/requests"),
    *("/admin/workers", "/admin/placement", "/admin/keys", "/admin/models"),
)
"""Doors that show figures, or what there is."""


def seen_commands(home: Path) -> list[tuple[str, str]]:
    """Return the command lines of what a daemon has started, and its own."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(home) in process.environ().get("HOME", "") or process in tagged_processes(home):
                found.append((f"process {process.pid}", " ".join(process.cmdline())))
    return found


def crash(daemon: Daemon) -> None:
    """End a replica by a fault of its own, and wait for the next one."""
    (replica,) = daemon.replicas().values()
    os.kill(replica["pid"], signal.SIGSEGV)

    def is_back() -> bool:
        (now,) = daemon.replicas().values()
        return bool(now["state"] == "ready" and now["pid"] != replica["pid"])

    wait_until(is_back)


def crash_itself(daemon: Daemon) -> None:
    """End the daemon as a fault of its own would; where cores go to its folder, it would leave one."""
    daemon.client.stop("demo")
    assert 0 == resource.prlimit(daemon.process.pid, resource.RLIMIT_CORE)[0]
    daemon.process.send_signal(signal.SIGSEGV)
    daemon.process.wait(DEADLINE_SECONDS)
    (daemon.runtime / "control.sock").unlink()  # what the next daemon would remove


def left_in(home: Path) -> Iterator[tuple[Any, str]]:
    """Yield every file of a home, with whatever it holds."""
    for path in home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path, path.read_bytes().decode("latin-1")
