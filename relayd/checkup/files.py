"""Checks of files: models that are whole, folders of models, downloads that ended early, files with keys."""

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from relayd.checkup.finding import Finding, Patient, Severity
from relayd.config import Config, check_model_files, file_problem
from relayd.engine.commandline import files_named
from relayd.errors import ModelFileError, RelaydError


def check_files(patient: Patient) -> Iterator[Finding]:
    """Yield whether files that are configured, or that hold keys, are as they should be."""
    config = patient.config
    if isinstance(config, Config):
        yield from _models(config, patient)
        yield from _of_args(config, patient.paths.runtime)
        yield from _folders(config)
    yield from _unfinished(patient)
    yield from _keys(patient)


def _models(config: Config, patient: Patient) -> Iterator[Finding]:
    """Yield each file that is missing or cut; where none is, how many were looked at."""
    problems: list[str] = []
    try:
        check_model_files(config)
    except ModelFileError as error:
        problems += error.message.splitlines()
    for name, why in patient.damaged.items():
        if not any(problem.startswith(f"model {name}: ") for problem in problems):
            problems.append(f"model {name}: {why}")
    for problem in problems:
        remedy = "Correct the line, or get the file anew; then run `relayd reload`."
        yield Finding("model files", Severity.PROBLEM, problem, remedy)
    count = sum(1 + bool(model.projector) + len(model.lora) for model in config.model)
    if count and not problems:
        found = "1 file found, complete" if count == 1 else f"{count} files found, all complete"
        yield Finding("model files", Severity.OK, found)


def _of_args(config: Config, runtime: Path) -> Iterator[Finding]:
    """Yield files that a line names in its `args` and that the engine, which runs elsewhere, cannot read."""
    for model in config.model:
        ggufs, texts = files_named(model.args)
        for name, gguf in (*((one, True) for one in ggufs), *((one, False) for one in texts)):
            if why := file_problem(runtime / name, gguf=gguf):
                elsewhere = not Path(name).is_absolute()
                remedy = f"Write the whole path: llama-server runs in {runtime}." if elsewhere else ""
                yield Finding("model files", Severity.PROBLEM, f"args of {model.name}: {why}", remedy)


def _folders(config: Config) -> Iterator[Finding]:
    """Yield folders of models that are not there or cannot be read."""
    for folder in map(Path, config.models.folders):
        if not folder.is_dir():
            why = "is not a folder" if folder.exists() else "does not exist"
        elif not os.access(folder, os.R_OK | os.X_OK):
            why = "cannot be read"
        else:
            continue
        remedy = "Correct [models] folders, or make the folder."
        yield Finding("folders of models", Severity.PROBLEM, f"{folder} {why}", remedy)


def _unfinished(patient: Patient) -> Iterator[Finding]:
    """Yield downloads that ended early: those without a byte are only a line in a list."""
    for one in patient.unfinished:
        if one.bytes:
            remedy = (
                f"Resume with `relayd pull {one.again}`, or remove it with `relayd models rm {one.name}`."
            )
            yield Finding("unfinished pull", Severity.NOTE, f"{one.name}: {one.shown}", remedy)
        else:
            detail = f"{one.name}: nothing of it has arrived"
            remedy = f"Remove it with `relayd models rm {one.name}`."
            yield Finding("unfinished pull", Severity.NOTE, detail, remedy, one.remove)


def _keys(patient: Patient) -> Iterator[Finding]:
    """Yield files with keys that other users of this machine may read."""
    open_ones = [file for file in patient.secret_files if _is_open(file)]
    for file in open_ones:
        detail = f"{file} holds a key, and other users may read it"
        fix = partial(file.chmod, 0o600)
        yield Finding("file rights", Severity.PROBLEM, detail, f"Run `chmod 600 {file}`.", fix)
    if patient.secret_files and not open_ones:
        yield Finding("file rights", Severity.OK, "files with keys can be read by their owner only")


def _is_open(file: Path) -> bool:
    try:
        return bool(stat.S_IMODE(file.stat().st_mode) & 0o077)
    except OSError:
        return False


def mend(findings: list[Finding]) -> list[Finding]:
    """Apply the fix of each finding that has one, and return the findings as they are then."""
    mended = []
    for one in findings:
        if one.fix is None:
            mended.append(one)
            continue
        try:
            one.fix()
        except (OSError, RelaydError) as error:
            mended.append(
                Finding(one.subject, one.level, f"{one.detail}; it cannot be mended: {error}", one.remedy)
            )
        else:
            mended.append(Finding(one.subject, Severity.FIXED, one.detail))
    return mended
