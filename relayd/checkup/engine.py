"""Checks of the llama-server: its age, features and flags."""

from collections.abc import Iterator

from relayd.checkup.finding import Finding, Patient, Severity, problem
from relayd.config import Config
from relayd.engine import Engine, check_extra_args
from relayd.engine.reserved import canonical
from relayd.engine.sandbox import REMEDY
from relayd.errors import RelaydError

OLDEST_BUILD = 9000
"""llama.cpp builds before this lack flags that relayd passes where they exist (`--log-jsonl`, `--fit`)."""

NEEDED = ("--api-key-file", "--metrics", "--cache-ram", "--fit")


def check_engine(patient: Patient) -> Iterator[Finding]:
    """Yield which llama-server would run, and what it lacks."""
    try:
        engine = patient.engine()
    except RelaydError as error:
        yield problem("engine", error)
        return
    yield Finding("engine", Severity.OK, f"llama.cpp {engine.version} at {engine.path}")
    update = "Run `relayd engine update`."
    if engine.build is not None and engine.build < OLDEST_BUILD:
        yield Finding("engine age", Severity.NOTE, f"build {engine.build} is old", update)
    if missing := [flag for flag in NEEDED if flag not in engine.features.flags]:
        yield Finding("engine features", Severity.NOTE, f"it lacks {', '.join(missing)}", update)
    config = patient.config
    unix = isinstance(config, RelaydError) or config.replicas.listen == "unix"
    if unix and not engine.features.unix_sockets:
        remedy = 'Run `relayd engine update`, or set [replicas] listen = "tcp".'
        yield Finding("engine sockets", Severity.PROBLEM, "it cannot listen on unix sockets", remedy)
    if not isinstance(config, RelaydError):
        yield from _sandbox(config, patient)
        yield from _flags(config, engine)
    system = patient.root / "etc/llama.cpp/config.ini"
    if system.exists():
        remedy = f"Move {system} away; relayd cannot switch it off."
        yield Finding("engine configuration", Severity.PROBLEM, "llama-server reads flags from it", remedy)


def _sandbox(config: Config, patient: Patient) -> Iterator[Finding]:
    if config.replicas.sandbox != "bwrap":
        return
    if why := patient.no_sandbox():
        yield Finding("sandbox", Severity.PROBLEM, f"replicas cannot start in one: {why}", REMEDY)
    else:
        yield Finding("sandbox", Severity.OK, "bubblewrap makes one")


def _flags(config: Config, engine: Engine) -> Iterator[Finding]:
    """Yield flags of models that are relayd's own, or that this build does not know."""
    for model in config.model:
        where = f"args of {model.name}"
        try:
            check_extra_args(model.args, where)
        except RelaydError as error:
            yield problem("flags", error)
        flags = [canonical(arg) for arg in model.args if arg.startswith("-") and not _is_number(arg)]
        if unknown := [flag for flag in flags if flag not in engine.features.flags]:
            detail = f"{where}: llama.cpp {engine.version} does not know {', '.join(unknown)}"
            yield Finding(
                "flags",
                Severity.PROBLEM,
                detail,
                f"Correct them; `{engine.path} --help` lists what it knows.",
            )


def _is_number(arg: str) -> bool:
    try:
        float(arg)
    except ValueError:
        return False
    return True
