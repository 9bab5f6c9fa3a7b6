"""Does a newcomer come from an empty home to an answer by typing what the screens say?"""

import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from relayd.desired.demo import demo_model
from relayd.engine import Engine
from tests.daemons import DEADLINE_SECONDS, home_environ, tagged_processes
from tests.fakes.hub import FakeHub, running_hub

pytestmark = pytest.mark.real

REPO = "bartowski/SmolLM2-135M-Instruct-GGUF"
NAME = "smollm2-135m-instruct"
QUANTS = ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0")


class Newcomer:
    """Types commands, and keeps every screen with the time it took."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.home = home
        self._environ = environ
        self._lines: queue.Queue[str] = queue.Queue()
        self._serving: subprocess.Popen[str] | None = None
        self._screens = home / "newcomer.txt"

    def types(self, line: str) -> str:
        """Type a command that ends well, and return its screen."""
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", *line.split()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.home,
            env=self._environ,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        self.keep(line, done.stdout, time.monotonic() - began)
        assert 0 == done.returncode, done.stdout
        return done.stdout

    def serves(self, line: str) -> str:
        """Type `relayd serve` on another terminal, and return its screen when it says what to try."""
        began = time.monotonic()
        self._serving = subprocess.Popen(
            [sys.executable, "-m", *line.split()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.home,
            env=self._environ,
            text=True,
        )
        threading.Thread(target=self._read, args=(self._serving,)).start()
        screen = ""
        while "  curl " not in screen:
            shown = self._lines.get(timeout=DEADLINE_SECONDS)
            assert shown, f"the daemon ended: {screen}"
            screen += shown
        self.keep(line, screen, time.monotonic() - began)
        return screen

    def end(self) -> int:
        """Return how `relayd serve` ended."""
        if self._serving is None:
            return 0
        try:
            return self._serving.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._serving.kill()
            raise

    def _read(self, serving: "subprocess.Popen[str]") -> None:
        assert serving.stdout is not None
        with serving.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put("")

    def keep(self, line: str, screen: str, seconds: float) -> None:
        with self._screens.open("a") as file:
            file.write(f"$ {line}    [{seconds:.2f} s]\n{screen}\n")


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A hub that offers a small model of the catalogue; its bytes are those of our own."""
    with running_hub() as fake:
        model = Path(demo_model().file).read_bytes()
        fake.add(REPO, **{f"SmolLM2-135M-Instruct-{quant}": model for quant in QUANTS})
        yield fake


@pytest.fixture
def newcomer(home: Path, engine: Engine, hub: FakeHub) -> Iterator[Newcomer]:
    environ = home_environ(home) | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home / "hf"),
        "LLAMA_SERVER_PATH": str(engine.path),
        "RELAYD_SERVER__LISTEN": "127.0.0.1:0",
    }
    newcomer = Newcomer(home, environ)
    yield newcomer
    if tagged_processes(home):
        newcomer.types("relayd stop --all")
    newcomer.end()
    assert [] == tagged_processes(home)


def test_from_an_empty_home_to_an_answer(newcomer: Newcomer) -> None:
    advice = newcomer.types(f"relayd recommend --model {NAME}")
    assert "Verdict    yes" in advice

    get = advice.splitlines()[-1].removeprefix("Get it: ")
    chosen = get.removeprefix("relayd pull ")  # how fine a file depends on the machine
    assert chosen in {f"{NAME}:{quant}" for quant in QUANTS}
    pulled = newcomer.types(get)
    serve = pulled.splitlines()[-1].removeprefix("Serve it: ")
    assert f"relayd serve {chosen}" == serve
    assert f"\n{chosen} " in newcomer.types("relayd models")

    screen = newcomer.serves(serve)
    found = re.search(r"listens on (http://\S+)", screen)
    assert found, screen
    began = time.monotonic()
    with OpenAI(base_url=f"{found[1]}/v1", api_key="unused", max_retries=0) as client:
        model = client.models.list().data[0].id
        assert chosen == model == client.models.retrieve(NAME).id
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])
    text = answer.choices[0].message.content or ""
    newcomer.keep(f"an OpenAI client asks {model}", text, time.monotonic() - began)
    assert text.startswith("Hello from relayd!")
    assert "running" in newcomer.types("relayd models")

    newcomer.types("relayd stop")
    assert 0 == newcomer.end()


def test_what_is_on_the_disk_is_served_without_a_word(newcomer: Newcomer) -> None:
    newcomer.types(f"relayd pull {NAME}:Q8_0 --quiet")

    assert f"{NAME}:Q8_0#0 is ready" in newcomer.serves("relayd serve")
    for name in ("", NAME, f"{NAME}:Q8_0", "smoll"):
        assert "Hello from relayd!" in newcomer.types(f"relayd chat {name} -m hello")
    newcomer.types("relayd stop")


def test_a_recommendation_is_written_and_served(newcomer: Newcomer) -> None:
    newcomer.types(f"relayd pull {NAME}:Q8_0 --quiet")
    written = newcomer.types(f"relayd recommend --model {NAME}:Q8_0 --write")
    serve = written.strip().rpartition(": ")[2]

    assert f"relayd serve {NAME}:Q8_0" == serve
    assert f"{NAME}:Q8_0#0 is ready" in newcomer.serves(serve)
    newcomer.types("relayd stop")
