"""Which tools of a request to OpenAI's responses API does the engine get, and how are calls named back?

The engine knows functions only. A tool in a namespace becomes a function, with the namespace in front of its
name where two would be alike; a custom tool becomes a function of one text. What only OpenAI's servers run
(web search, interpreters, …) is left out and named.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from relayd.errors import RequestError

CUSTOM_ARGUMENT = "input"
"""The one argument of the function that stands for a custom tool."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OfferedFunction:
    """A tool as the client knows it.

    Attributes:
        name: Its name.
        namespace: Where it is; empty outside of any.
        custom: It takes a text instead of arguments.
    """

    name: str
    namespace: str = ""
    custom: bool = False


@dataclass(frozen=True, slots=True)
class OfferedTools:
    """The tools of one request.

    Attributes:
        functions: As chat requests write them.
        known: The tools by the names that the engine knows them by.
        left_out: Types or names of those that cannot be offered.
    """

    functions: tuple[Json, ...] = ()
    known: Mapping[str, OfferedFunction] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def engine_name(self, name: str, namespace: str) -> str:
        """Return how the engine knows a tool that is called in the history; one that is gone by its name."""
        for known, tool in self.known.items():
            if (tool.name, tool.namespace) == (name, namespace):
                return known
        return name


def offer(tools: object) -> OfferedTools:
    """Return what the engine can offer of a request's tools.

    Raises:
        RequestError: They are not a list of objects.
    """
    if tools is None:
        return OfferedTools()
    functions: list[Json] = []
    known: dict[str, OfferedFunction] = {}
    left_out: list[str] = []
    for tool, namespace in _flat(tools, ""):
        kind, name = tool.get("type"), tool.get("name")
        if kind not in ("function", "custom") or not isinstance(name, str):
            left_out.append(str(kind))
            continue
        offered = OfferedFunction(name, namespace, custom=kind == "custom")
        engine_name = f"{namespace}__{name}" if name in known and namespace else name
        if engine_name in known:
            raise RequestError(f"tools has {name[:64]!r} twice.", param="tools")
        known[engine_name] = offered
        functions.append({"type": "function", "function": _function(engine_name, tool)})
    return OfferedTools(tuple(functions), known, tuple(dict.fromkeys(left_out)))


def _flat(tools: object, namespace: str) -> Iterator[tuple[Json, str]]:
    """Yield each tool with its namespace."""
    if not isinstance(tools, Iterable):
        raise RequestError("tools is not a list.", param="tools")
    for tool in tools:
        if not isinstance(tool, dict):
            raise RequestError("tools holds something that is not an object.", param="tools")
        if tool.get("type") == "namespace":
            yield from _flat(tool.get("tools") or (), str(tool.get("name") or ""))
        else:
            yield tool, namespace


def _function(name: str, tool: Json) -> Json:
    """Return a tool as chat requests describe it."""
    if tool["type"] == "custom":
        text = {"type": "string", "description": "The whole input of the tool."}
        parameters: Json = {
            "type": "object", "properties": {CUSTOM_ARGUMENT: text}, "required": [CUSTOM_ARGUMENT],
        }  # fmt: skip
    else:
        parameters = tool.get("parameters") or {"type": "object", "properties": {}}
    described: Json = {"name": name, "description": tool.get("description") or "", "parameters": parameters}
    return described | ({"strict": True} if tool.get("strict") is True else {})
