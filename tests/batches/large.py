"""How much memory does a large file take, from its upload to the end of its validation?"""

import json
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

from tests.batches.place import OVER, Place, ask, form, line
from tests.daemons import DEADLINE_SECONDS, wait_until


def measure(place: Place, *, megabytes: int) -> bool:
    """Upload a file, have it validated, cancel it; print the largest memory of the daemon."""
    daemon = place.start()
    try:
        before, began = _peak_mib(daemon.process.pid), time.monotonic()
        name = _upload(daemon.url, megabytes)
        uploaded, sent = _peak_mib(daemon.process.pid), time.monotonic()
        asked = {"input_file_id": name, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        batch = ask(daemon.url, "POST", "/v1/batches", asked)["id"]
        one = f"/v1/batches/{batch}"
        wait_until(lambda: ask(daemon.url, "GET", one)["status"] != "validating")
        found, validated = ask(daemon.url, "GET", one), time.monotonic()
        peak = _peak_mib(daemon.process.pid)
        if found["status"] not in OVER:
            ask(daemon.url, "POST", f"{one}/cancel", {})
    finally:
        daemon.end()
        daemon.leftovers()
    sys.stdout.write(
        f"{megabytes:,} MB, {found['request_counts']['total']:,} lines, {found['status']}: peak of resident "
        f"memory {before} MiB at rest, {uploaded} MiB after the upload ({sent - began:.0f} s), "
        f"{peak} MiB after the validation ({validated - sent:.0f} s)\n"
    )
    return str(found["status"]) == "in_progress"


def _upload(url: str, megabytes: int) -> str:
    head, _, tail = form(b"|").partition(b"|")
    connection = HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE_SECONDS)
    boundary = head[2 : head.index(b"\r\n")].decode()
    connection.request(
        "POST",
        "/v1/files",
        _chunks(head, tail, megabytes * 1_000_000),
        {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        encode_chunked=True,
    )
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return str(document["id"])


def _chunks(head: bytes, tail: bytes, size: int) -> Iterator[bytes]:
    yield head
    number = sent = 0
    while sent < size:
        chunk = b"".join(line(number + one, f"{number + one} {'word ' * 2000}", 4) for one in range(100))
        number, sent = number + 100, sent + len(chunk)
        yield chunk
    yield tail


def _peak_mib(pid: int) -> int:
    """Return the largest resident memory of a process so far."""
    for text in Path(f"/proc/{pid}/status").read_text().splitlines():
        if text.startswith("VmHWM:"):
            return int(text.split()[1]) // 1024
    return 0
