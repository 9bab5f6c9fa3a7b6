"""Where does the code catch every error?"""

import ast
from collections.abc import Iterator

from tests.sources import Source, dotted, every, every_function, sources


def catch_alls() -> Iterator[tuple[Source, int, str]]:
    for source in sources():
        handlers = (node.lineno for _, node in every(ast.ExceptHandler, [source]) if catches_all(node))
        calls = (node.lineno for _, node in every(ast.Call, [source]) if suppresses_all(node))
        for line in (*handlers, *calls):
            yield source, line, f"{source.name}:{enclosing(source, line)}"


def enclosing(source: Source, line: int) -> str:
    """Return the name of the innermost function around a line; empty at the top level."""
    around = [node for _, node in every_function([source]) if node.lineno <= line <= (node.end_lineno or 0)]
    return max(around, key=lambda node: node.lineno).name if around else ""


def catches_all(node: ast.ExceptHandler) -> bool:
    """Return whether any error ends here; a handler that tidies up and raises it again does not count."""
    last = node.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False
    if node.type is None:
        return True
    return any(map(is_any_error, node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]))


def suppresses_all(node: ast.Call) -> bool:
    return dotted(node.func).endswith("suppress") and any(map(is_any_error, node.args))


def is_any_error(kind: ast.expr) -> bool:
    return dotted(kind) in {"Exception", "BaseException"}
