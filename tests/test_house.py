"""Does the code keep the house rules that a machine can see?

Every message names a place as `file:line` and says what to do there.
"""

import ast
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.catches import catch_alls
from tests.sources import (
    ROOT,
    Function,
    Source,
    comments,
    dotted,
    every,
    every_function,
    files,
    is_binary,
    lines_of,
    ours,
    report,
    sources,
)
from tests.words import DENIAL, UNREVISED, context, is_sentence, prose, remedies, room, unplain

pytestmark = pytest.mark.pure

MODULE_LINES = 400
FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 10

VAGUE_NAMES = frozenset({"common", "helper", "helpers", "manager", "managers", "util", "utils"})
"""Words that say nothing of what is inside."""

WALL_CLOCK_IN = frozenset({"relayd/clock.py"})
"""Where the time of day may be asked; everything else is handed a `Clock`."""

CATCH_ALL: Mapping[str, str] = {
    "relayd/router/eager.py:_rest": "it raises the error where the coroutine waits",
    "relayd/api/direct.py:carry_out": "every fault is answered, or cuts off the answer that has begun",
    "relayd/api/inside.py:ask": "a fault in one line of a batch ends no other",
    "relayd/api/served.py:answer": "every fault is answered, or cuts off the answer that has begun",
    "relayd/api/control.py:handle": "who commands is told of any fault, in the shape of every answer",
    "relayd/supervisor/health.py:_watch": "a fault of a look is reported, and the next look comes",
    "tests/fuzz/models.py:fuzz": "an error that should not have come out of a file is what is looked for",
    "tests/cli/odd.py:_become": "whatever a command ends with is what the test shows",
    "relayd/fetch.py:attempt": "carries an error from its thread to the caller's, where it is raised",
}
"""`file:function` -> why any error at all is caught there: the edge of what one failure may end."""

FORBIDDEN_CALLS: Mapping[str, str] = {
    "time.sleep": "wait for the event itself, with a deadline",
    "os.system": "start programs by an argument list",
    "os.popen": "start programs by an argument list",
    "subprocess.getoutput": "start programs by an argument list",
    "asyncio.create_subprocess_shell": "start programs by an argument list",
}

MARKERS = frozenset({"pure", "fake", "real", "system"})

BINARIES: Mapping[str, int] = {"relayd/demo.gguf": 1_000_000}
"""Binary file the repository may hold -> its size limit in bytes."""

TEST_COMMANDS = ("python3 -m venv .venv", ".venv/bin/pip install -e '.[dev]'", ".venv/bin/python -m pytest")

MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root)/|\.\./shared")

UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX)\b")

UNFINISHED_NAMES = frozenset({"NotImplementedError", "xfail"})

REASONLESS = re.compile(
    r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?|type:\s*ignore(?:\[[\w, -]+\])?)\s*$"
)
"""A silenced warning without the reason after it."""


def test_every_module_says_which_question_it_answers() -> None:
    report(
        f"{source.at(1)} the docstring's first line is no sentence: say which question the module answers"
        for source in ours()
        if not (ast.get_docstring(source.tree) or "").partition("\n")[0].endswith((".", "?"))
    )


def test_modules_stay_short() -> None:
    report(
        f"{source.name} has {count} lines: split it by question; the ceiling is {MODULE_LINES}"
        for source in sources()
        if (count := len(source.text.splitlines())) > MODULE_LINES
    )


def test_functions_stay_short() -> None:
    report(
        f"{source.at(node.lineno)} {node.name} has {lines_of(node)} lines: the ceiling is {FUNCTION_LINES}"
        for source, node in every_function(sources())
        if lines_of(node) > FUNCTION_LINES
    )


def test_the_median_function_is_short() -> None:
    median = statistics.median(lines_of(node) for _, node in every_function(ours()))

    assert median <= MEDIAN_FUNCTION_LINES


def test_modules_are_named_for_what_is_inside() -> None:
    report(
        f"{source.name} has a name that says nothing: name what is inside"
        for source in sources()
        if VAGUE_NAMES & words(source.name)
    )


def test_classes_are_named_for_what_they_are() -> None:
    report(
        f"{source.at(node.lineno)} class {node.name} has a name that says nothing: name what it is"
        for source, node in every(ast.ClassDef, sources())
        if VAGUE_NAMES & words(node.name)
    )


def words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def test_time_of_day_comes_from_the_clock() -> None:
    report(
        f"{source.at(node.lineno)} asks the time of day: take a Clock; durations are monotonic"
        for source, node in every_spelled(ours())
        if "time.time" in spelled(node) and source.name not in WALL_CLOCK_IN
    )


def every_spelled(among: Iterable[Source]) -> Iterator[tuple[Source, ast.Attribute | ast.ImportFrom]]:
    for source in among:
        yield from every(ast.Attribute, [source])
        yield from every(ast.ImportFrom, [source])


def spelled(node: ast.Attribute | ast.ImportFrom) -> set[str]:
    """Return the dotted names an expression or an import brings in."""
    if isinstance(node, ast.Attribute):
        return {dotted(node)}
    return {f"{node.module}.{alias.name}" for alias in node.names}


def test_nothing_sleeps_and_nothing_goes_through_a_shell() -> None:
    report(
        f"{source.at(node.lineno)} uses {name}: {FORBIDDEN_CALLS[name]}"
        for source, node in every_spelled(sources())
        for name in spelled(node) & FORBIDDEN_CALLS.keys()
    )


def test_children_start_without_a_shell_and_without_code_after_fork() -> None:
    report(
        f"{source.at(node.lineno)} passes {keyword.arg}: pass an argument list, and run nothing after fork"
        for source, node in every(ast.Call, sources())
        for keyword in node.keywords
        if keyword.arg == "preexec_fn" or (keyword.arg == "shell" and ast.unparse(keyword.value) != "False")
    )


def test_only_listed_boundaries_catch_every_error() -> None:
    report(
        f"{source.at(line)} catches every error: name the errors, or list {place} in CATCH_ALL"
        for source, line, place in catch_alls()
        if place not in CATCH_ALL
    )


def test_the_list_of_boundaries_is_current() -> None:
    places = {place for _, _, place in catch_alls()}

    gone = sorted(CATCH_ALL.keys() - places)

    assert not gone, f"CATCH_ALL lists functions that catch every error no more: {gone}"


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for source, node in every(ast.ClassDef, ours()):
        places[node.name.lstrip("_")].append(source.at(node.lineno))

    report(
        f"class {name} is at {' and at '.join(found)}: give one of them a name of its own"
        for name, found in places.items()
        if len(found) > 1
    )


def test_the_text_uses_the_words_of_the_field() -> None:
    report(
        f"{place} {found[0]!r}: {twin} ({context(text, found)})"
        for place, text in prose()
        for found, twin in unplain(text)
    )


def test_what_is_wrong_is_invalid_and_not_no_thing() -> None:
    report(
        f"{place} {found[0]!r}: write `is not a valid …` ({context(text, found)})"
        for place, text in prose()
        for found in DENIAL.finditer(text)
    )


def test_a_remedy_is_a_sentence() -> None:
    report(
        f"{source.at(line)} remedy {text!r}: begin with a capital, end with a full stop"
        for source in ours()
        if room(source) not in UNREVISED
        for line, text in remedies(source)
        if not is_sentence(text)
    )


def test_errors_that_leave_a_room_are_on_the_one_tree() -> None:
    report(
        f"{source.at(node.lineno)} class {node.name}: move it to relayd/errors/, or make it private"
        for source, node in every(ast.ClassDef, ours())
        if not source.name.startswith("relayd/errors/") and not node.name.startswith("_")
        if any(ast.unparse(base).endswith(("Error", "Exception")) for base in node.bases)
    )


def test_nothing_is_left_unfinished() -> None:
    report(
        f"{source.at(line)} {text}: finish it, or take it out"
        for source, line, text in (*unfinished_names(), *comments())
        if text in UNFINISHED_NAMES or UNFINISHED.search(text)
    )


def unfinished_names() -> Iterator[tuple[Source, int, str]]:
    yield from ((source, node.lineno, node.id) for source, node in every(ast.Name, sources()))
    yield from ((source, node.lineno, node.attr) for source, node in every(ast.Attribute, sources()))


def test_a_silenced_warning_gives_its_reason() -> None:
    report(
        f"{source.at(line)} {comment}: name the rule and add the reason after it"
        for source, line, comment in comments()
        if REASONLESS.search(comment)
    )


def test_comments_are_sentences_not_banners() -> None:
    report(
        f"{source.at(line)} {comment[:40]}: a module that needs banners is two modules"
        for source, line, comment in comments()
        if re.search(r"[-=#*~_]{4,}|^#\s*[-=#*~_]{2,}", comment)
    )


def test_no_code_is_commented_out() -> None:
    report(
        f"{source.at(line)} {comment}: delete it, git remembers"
        for source, line, comment in comments()
        if is_code(comment.lstrip("# "))
    )


@pytest.mark.parametrize(
    "text", ["call(1)", "import os", "x = call()", "return call()", "if x:", "def f():", "x += 1"]
)
def test_commented_out_code_is_recognised(text: str) -> None:
    assert is_code(text)


@pytest.mark.parametrize(
    "text", ["noqa: S603", "return code", "why", "slots * width", "if it fits:", "(see above)"]
)
def test_sentences_are_not_taken_for_code(text: str) -> None:
    assert not is_code(text)


def is_code(text: str) -> bool:
    """Tell whether a comment can only be Python: it parses, and does more than name or compare things."""
    opens_a_block = re.match(r"(if|for|while|with|def|class|async)\b.*:$", text)
    try:
        tree = ast.parse(f"{text} ..." if opens_a_block else text)
    except SyntaxError:
        return False
    return any(does_something(node) for node in tree.body)


def does_something(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call | ast.Await | ast.Yield)
    if isinstance(node, ast.Assign | ast.Return | ast.Raise):
        return any(isinstance(inner, ast.Call) for inner in ast.walk(node))
    return not isinstance(node, ast.AnnAssign | ast.Pass | ast.Break | ast.Continue)


def test_every_test_says_what_it_meets() -> None:
    report(
        f"{source.at(node.lineno)} {node.name} has {found or 'no marker'}: give it, or its module through "
        f"pytestmark, exactly one of {sorted(MARKERS)}"
        for source in sources()
        if Path(source.name).name.startswith("test_")
        for _, node in every_function([source])
        if node.name.startswith("test_") and len(found := marks_of(source, node)) != 1
    )


def marks_of(source: Source, test: Function) -> list[str]:
    spelling = " ".join([module_marks(source), *map(ast.unparse, test.decorator_list)])
    return [mark for mark in re.findall(r"pytest\.mark\.(\w+)", spelling) if mark in MARKERS]


@cache
def module_marks(source: Source) -> str:
    return " ".join(
        ast.unparse(node.value)
        for node in source.tree.body
        if isinstance(node, ast.Assign) and [dotted(target) for target in node.targets] == ["pytestmark"]
    )


def test_every_room_has_unit_tests() -> None:
    """A room proved through whole processes alone hides faults: `real` tests do not count."""
    tested = {
        source.name.split("/")[1]
        for source in sources()
        if source.name.startswith("tests/") and Path(source.name).name.startswith("test_")
        for _, node in every_function([source])
        if node.name.startswith("test_") and marks_of(source, node) != ["real"]
    }
    rooms = {room(source) for source in ours() if source.name.count("/") == 2}

    assert set() == rooms - tested, "rooms without unit tests in a folder of tests/ of the same name"


def test_tests_are_free_functions() -> None:
    report(
        f"{source.at(node.lineno)} class {node.name}: write its tests as functions"
        for source, node in every(ast.ClassDef, sources())
        if source.name.startswith("tests/") and node.name.startswith("Test")
    )


def test_the_repository_holds_one_small_binary() -> None:
    report(
        f"{name} is a binary file of {size} bytes: build it where it is needed, or list it in BINARIES"
        for name in files()
        if is_binary(data := (ROOT / name).read_bytes()) and (size := len(data)) > BINARIES.get(name, -1)
    )


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    report(
        f"{name}:{number} {line.strip()[:80]}: say it without a path of one machine"
        for name in files()
        if not is_binary(data := (ROOT / name).read_bytes())
        for number, line in enumerate(data.decode("utf-8").splitlines(), start=1)
        if MACHINE_PATH.search(line)
    )


def test_ci_runs_the_commands_that_the_documents_tell() -> None:
    report(
        f"{name} lacks `{command}`: people and CI run the same tests in the same way"
        for name in ("README.md", ".github/CONTRIBUTING.md", ".ci/run")
        if name in files()
        for command in TEST_COMMANDS
        if command not in (ROOT / name).read_text("utf-8")
    )
