"""Is the tree of errors drawn as it is, with a code for each?"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from re import fullmatch

import pytest

from relayd import errors

pytestmark = pytest.mark.pure


@dataclass(frozen=True, slots=True)
class Line:
    """One error: as the docstring draws it, or as its class defines it."""

    depth: int
    name: str
    code: str
    exit_status: int
    http_status: int


def drawn() -> Iterator[Line]:
    left = 0
    for line in (errors.__doc__ or "").splitlines():
        if line.lstrip().startswith("RelaydError "):
            left = line.index("RelaydError")
            yield Line(0, "RelaydError", "internal_error", 1, 500)
        elif row := fullmatch(r"[ │├└─]+(\w+) +(\w+) +(\d+) +(\d+)", line):
            name, code, exit_status, http_status = row.groups()
            yield Line((row.start(1) - left) // 4, name, code, int(exit_status), int(http_status))


def is_ours(kind: type) -> bool:
    return kind.__module__.startswith(f"{errors.__name__}.")


def defined(kind: type[errors.RelaydError] = errors.RelaydError, depth: int = 0) -> Iterator[Line]:
    yield Line(depth, kind.__name__, kind.code, kind.exit_status, kind.http_status)
    for child in kind.__subclasses__():
        if is_ours(child):
            yield from defined(child, depth + 1)


def test_the_tree_is_drawn_as_the_classes_are() -> None:
    assert list(defined()) == list(drawn())


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [line.code for line in defined()]

    assert sorted(set(codes)) == sorted(codes)


def test_every_class_grows_on_the_tree() -> None:
    classes = {name for name, one in vars(errors).items() if inspect.isclass(one) and is_ours(one)}

    assert {line.name for line in defined()} == classes


def test_an_error_says_what_failed_and_what_to_do_next() -> None:
    error = errors.NoDaemonError("no daemon is running", remedy="start one: relayd serve")

    assert str(error) == "no daemon is running\nstart one: relayd serve"


def test_an_error_without_remedy_is_one_line() -> None:
    assert str(errors.ListenError("port 8080 is taken")) == "port 8080 is taken"
