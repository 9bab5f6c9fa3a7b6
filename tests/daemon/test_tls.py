"""Is a daemon with a certificate reached by clients and by relayd's own commands, and only encrypted?"""

import http.client
import json
import ssl
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.certificates import make_certificate
from tests.daemons import DEADLINE_SECONDS, FAST, Daemon, wait_until

pytestmark = pytest.mark.real


def test_clients_and_commands_talk_encrypted_and_a_renewed_certificate_is_shown(
    start_daemon: Callable[..., Daemon], home: Path
) -> None:
    cert, key = make_certificate(home)
    (home / "renewed").mkdir()
    renewed, its_key = make_certificate(home / "renewed")
    config = f'{FAST}file_check_seconds = 0.1\n[server]\ntls_cert = "{cert}"\ntls_key = "{key}"\n'
    daemon = start_daemon(config, "--demo")

    assert daemon.url.startswith("https://127.0.0.1:")
    assert "Hello" in answer(daemon.url, cert)
    assert 0 == daemon.run("test", "demo").returncode, daemon.run("test", "demo").stderr
    with closing(http.client.HTTPConnection(urlsplit(daemon.url).netloc, timeout=DEADLINE_SECONDS)) as plain:
        plain.request("GET", "/healthz")
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            plain.getresponse()

    its_key.replace(key)
    renewed.replace(cert)
    wait_until(lambda: "tls.renewed" in daemon.run("logs", "relayd", "-n", "1000").stdout)
    assert "Hello" in answer(daemon.url, cert)


def answer(url: str, cert: Path) -> str:
    """Return what the demo model answers, streamed."""
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=str(cert))
    connection = http.client.HTTPSConnection(
        str(parts.hostname), parts.port, timeout=DEADLINE_SECONDS, context=context
    )
    body = {"model": "demo", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    with closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        events = connection.getresponse().read().decode()
    assert events.rstrip().endswith("data: [DONE]")
    return "".join(
        json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content") or ""
        for line in events.splitlines()
        if line.startswith("data: {") and json.loads(line.removeprefix("data: "))["choices"]
    )
