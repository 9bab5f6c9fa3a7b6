"""Exit causes: why a replica ended, and whether a retry can help."""

import re
import signal
from dataclasses import dataclass
from enum import Enum


class Cause(Enum):
    """What ended an incarnation."""

    COMMANDED = "commanded"
    CLEAN = "clean"
    CRASH = "crash"
    KILLED = "killed"
    REFUSED = "refused"
    ADDRESS_IN_USE = "address in use"
    HOST_OOM = "out of host memory"
    DEVICE_OOM = "out of device memory"
    WRONG_CPU = "built for another CPU"
    NOT_ANSWERING = "not answering"
    IMPOSTOR = "impostor"
    SPAWN_FAILED = "could not be started"
    VANISHED = "vanished"


_FROM_OUTSIDE = {Cause.KILLED, Cause.ADDRESS_IN_USE, Cause.IMPOSTOR, Cause.SPAWN_FAILED, Cause.VANISHED}

_HOPELESS = {Cause.REFUSED, Cause.WRONG_CPU, Cause.DEVICE_OOM}


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of one incarnation, for people.

    Attributes:
        cause: What ended it.
        code: Exit code; negative is a signal; None when it cannot be known.
        message: One sentence, with the engine's own words where it had any.
        remedy: What an operator can do.
    """

    cause: Cause
    code: int | None
    message: str
    remedy: str = ""

    @property
    def hopeless(self) -> bool:
        """Whether trying again cannot help."""
        return self.cause in _HOPELESS

    @property
    def is_from_outside(self) -> bool:
        """Whether neither its file nor its size has ended it, so that the next try may well work."""
        return self.cause in _FROM_OUTSIDE

    @property
    def blame(self) -> float:
        """How surely what the process was working on has ended it, from 0 to 1.

        A crash is its request's work or the engine's own. A SIGKILL and a command come from outside, and so
        does an out-of-memory kill, as another process may have taken the memory. What only another daemon
        could have seen counts half.
        """
        return {Cause.CRASH: 1.0, Cause.VANISHED: 0.5}.get(self.cause, 0.0)

    @property
    def weight(self) -> int:
        """What it costs of the restart budget.

        The host running out of memory counts double, for every try endangers all that runs there;
        a system that is short of descriptors or processes does not count against the replica.
        """
        return {Cause.HOST_OOM: 2, Cause.SPAWN_FAILED: 0}.get(self.cause, 1)


@dataclass(frozen=True, slots=True)
class HeldExit(Exit):
    """The end of a process that was killed because a request held its inference thread: sure as a crash."""

    @property
    def blame(self) -> float:
        """Return 1."""
        return 1.0


# What llama-server b11434 prints before it exits, most specific first.
_SIGNATURES: tuple[tuple[str, Cause, str], ...] = (
    (
        r"cudaMalloc failed: out of memory|(?:unable|failed) to allocate \S+ .*",
        Cause.DEVICE_OOM,
        "Lower `context` or `slots`, or choose a smaller quantization.",
    ),
    (r"couldn't bind HTTP server socket", Cause.ADDRESS_IN_USE, "Another address is tried."),
    (
        r"invalid argument: .*|error while handling argument .*",
        Cause.REFUSED,
        "Correct `args` of this model.",
    ),
    (
        r"the argument has been removed.*",
        Cause.REFUSED,
        "Remove it from `args` of this model.",
    ),
    (
        r"failed to open GGUF file.*|invalid magic characters.*|data is not within the file bounds.*",
        Cause.REFUSED,
        "The model file is missing or damaged; get it again.",
    ),
    (
        r"unknown model architecture: .*",
        Cause.REFUSED,
        "`relayd explain FILE` states what the file is; for a new model: `relayd engine update`.",
    ),
    (
        r"failed to load (?:multimodal model|LoRA|lora adapter).*",
        Cause.REFUSED,
        "Correct the file named for it.",
    ),
    (
        r"error loading model.*",
        Cause.REFUSED,
        "`relayd explain FILE` states what the file is, `relayd logs` shows the engine's own words.",
    ),
    (r"exiting due to model loading error", Cause.REFUSED, "`relayd logs` shows the engine's own words."),
)


_LAST_LINES = 20
"""Of the log, in which a process that served for long can have named the allocation that ended it."""

_TEMPLATE = re.compile(r"chat template parsing error|the supplied chat template is not supported")
_TEMPLATE_FAULT = re.compile(r"common_chat_templates_init: error: (.*)")
_OTHER_TEMPLATE = 'Give it another one by its line: args = ["--chat-template", "chatml"].'


def may_be_oom(code: int | None) -> bool:
    """Return whether an exit code leaves it open that the kernel ended the process, or what it wrapped."""
    return code in (None, -signal.SIGKILL, 128 + signal.SIGKILL)


def classify(code: int | None, log_tail: str, *, out_of_memory: bool = False, loaded: bool = False) -> Exit:
    """Return why a process ended that nothing had stopped.

    Args:
        code: What `waitpid` returned; None for a process that is not our child.
        log_tail: The last lines the engine wrote in this incarnation.
        out_of_memory: Whether the kernel ended it because memory ran out.
        loaded: Whether it had its model loaded: then no error of loading has ended it, and of a device's
            memory only what it wrote last, as it crashed.
    """
    if out_of_memory:
        remedy = "Lower `cache_ram_mib`, `slots` or `context`, or choose a smaller quantization."
        return Exit(Cause.HOST_OOM, code, "the kernel killed it because memory ran out", remedy)
    if loaded:
        return _of_loaded(code, log_tail)
    if _TEMPLATE.search(log_tail):
        fault = _TEMPLATE_FAULT.search(log_tail)
        why = f": {fault[1].strip()[:200]}" if fault else ""
        message = f"the engine cannot read the model's chat template{why}"
        return Exit(Cause.REFUSED, code, message, _OTHER_TEMPLATE)
    for pattern, cause, remedy in _SIGNATURES:
        if found := re.search(pattern, log_tail):
            return Exit(cause, code, found.group(0).strip()[:300], remedy)
    return _by_code(code)


def _of_loaded(code: int | None, log_tail: str) -> Exit:
    pattern, cause, remedy = _SIGNATURES[0]
    last_lines = "\n".join(log_tail.splitlines()[-_LAST_LINES:])
    found = None if code in (None, 0, -signal.SIGKILL, -signal.SIGTERM) else re.search(pattern, last_lines)
    return Exit(cause, code, found.group(0).strip()[:300], remedy) if found else _by_code(code)


def _by_code(code: int | None) -> Exit:
    if code is None:
        return Exit(Cause.VANISHED, None, "it ended; only the daemon that started it could know how")
    if code < 0:
        return _signalled(-code)
    if code == 0:
        return Exit(Cause.CLEAN, 0, "it exited by itself")
    return Exit(Cause.CRASH, code, f"it exited with code {code}")


def _signalled(number: int) -> Exit:
    name = signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"
    if number == signal.SIGILL:
        remedy = "Build it for this one: `relayd engine install`."
        return Exit(Cause.WRONG_CPU, -number, "the engine was built for another CPU (SIGILL)", remedy)
    if number == signal.SIGKILL:
        remedy = "If it was not killed by hand, look into `dmesg`."
        return Exit(Cause.KILLED, -number, "it was killed from outside (SIGKILL)", remedy)
    return Exit(Cause.CRASH, -number, f"it was ended by {name}")
