"""Validation of a configuration document against the schema, with the line of each problem.

Problems are collected, so that one run names them all.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import inspect as types
from msgspec.structs import fields

from relayd.config.describe import describe, given, is_array, is_section, meant, quote, show, toml_type
from relayd.config.foreign import blocks_hint, hint, nearest
from relayd.config.listen import parse_listen, parse_network, parse_ports
from relayd.config.locate import KeyPath
from relayd.config.schema import Config, Section
from relayd.errors import ConfigError
from relayd.secret import Secret

SHORTEST_KEY = 24
HOW_TO_MAKE_A_KEY = "openssl rand -hex 32"

_ENVIRONMENT = re.compile(r"\$\{ENV:(\w+)\}")

_GRAMMARS: Mapping[KeyPath, Callable[[str], object]] = {
    ("server", "listen"): parse_listen,
    ("replicas", "ports"): parse_ports,
    ("server", "trusted_proxies"): parse_network,
}
"""Settings whose text has a grammar of its own -> its parser."""

_NEVER_EMPTY: Mapping[KeyPath, str] = {
    ("server", "listen"): "write at least one address, such as 127.0.0.1:8080",
}
"""Lists that need an item -> what to write."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What relative paths, `~` and variables in values refer to.

    Attributes:
        folder: Relative paths start here; absolute.
        home: What `~` stands for.
        environ: Where `${ENV:NAME}` looks.
    """

    folder: Path
    home: Path
    environ: Mapping[str, str]


@dataclass(slots=True)
class Document:
    """The settings of one source: a file, or all environment variables.

    Attributes:
        values: The settings that hold, as builtins, paths absolute and secrets filled in.
        models: Place and values of each model.
        virtual: Place and values of each virtual model.
        upstreams: Place and values of each upstream.
        problems: What is wrong, each with its place.
        warnings: What the operator should know.
        sources: The file, or the variables.
        place: How people find a key: `relay.toml:12`, or the variable.
    """

    values: dict[str, Any] = field(default_factory=dict)
    models: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    virtual: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    upstreams: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    place: Callable[[KeyPath], str] = field(default=str, compare=False, repr=False)


@dataclass(slots=True)
class Checker:
    """One source of settings, checked against the schema.

    Attributes:
        place: How people find a key of this source: `relay.toml:12`.
        around: What relative paths, `~` and variables in values refer to.
        text_only: Whether numbers and booleans arrive as text, as in environment variables.
        problems: What is wrong, each with its place.
    """

    place: Callable[[KeyPath], str]
    around: Surroundings
    text_only: bool = False
    problems: list[str] = field(default_factory=list)

    def document(self, data: Mapping[str, Any]) -> Document:
        """Return the settings of a parsed relay.toml."""
        values = self._table(Config, data, (), "")
        replicas = values.get("replicas", {})
        if replicas.get("sandbox") == "bwrap" and replicas.get("listen") == "tcp":
            problem = 'sandbox = "bwrap" has no network, so it needs listen = "unix"'
            self.problems.append(f"{self.place(('replicas', 'sandbox'))}: [replicas] {problem}")
        models, virtual = self._named("model", values), self._named("virtual", values)
        upstreams = self._named("upstream", values)
        return Document(values, models, virtual, upstreams, self.problems, place=self.place)

    def _named(self, table: str, values: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
        """Return place and values of each block of a table whose blocks have names."""
        blocks = enumerate(values.get(table, ()))
        return [(self.place((table, index, "name")), block) for index, block in blocks if block]

    def value(self, kind: Any, value: object, path: KeyPath, title: str) -> Any:
        """Return a value as `kind` wants it; None after a problem. `title` names it in the problem."""
        try:
            wanted = msgspec.convert(value, kind, strict=not self.text_only, dec_hook=_wrap)
        except msgspec.ValidationError:
            wanted = None
        if wanted is None or (isinstance(wanted, float) and not math.isfinite(wanted)):
            shown = toml_type(value) if kind is Secret else show(value)
            return self._problem(path, f"{title}: expected {describe(kind)}, got {shown}")
        if isinstance(wanted, Secret):
            return self._secret(wanted, path, title)
        if _is_path(kind):
            return self._absolute(wanted)
        return self._meant(wanted, path, title)

    def _problem(self, path: KeyPath, text: str) -> Any:
        """Note a problem, and return None in place of the value."""
        self.problems.append(f"{self.place(path)}: {text}")
        return None

    def _table(
        self, section: type[Section], data: Mapping[str, Any], path: KeyPath, title: str
    ) -> dict[str, Any]:
        known = {one.name: one for one in fields(section)}
        result = {}
        for key, value in data.items():
            if key not in known:
                guess = blocks_hint(key) if _are_blocks(value) else hint(key, section)
                self._problem((*path, key), f"unknown key {quote(key)}{_inside(title)}{guess}")
            elif (entry := self._entry(known[key].type, value, (*path, key), title)) is not None:
                result[key] = entry
        for name, one in known.items():
            if one.required and name not in data:
                self._problem(path, f"{title} lacks {quote(name)}")
        return result

    def _entry(self, kind: Any, value: object, path: KeyPath, parent: str) -> Any:
        title, kind = f"{quote(path[-1])}{_inside(parent)}", meant(given(kind), value)
        if is_section(kind):
            if isinstance(value, dict):
                return self._table(kind, value, path, f"[{path[-1]}]")
            guess = blocks_hint(str(path[-1])) if _are_blocks(value) else ""
            expected = f"expected a table, [{path[-1]}], got {show(value)}"
            return self._problem(path, f"{title}: {expected}{guess}")
        if not is_array(kind):
            return self.value(kind, value, path, title)
        item = get_args(kind)[0]
        if not isinstance(value, list):
            header = f", [[{path[-1]}]]" if is_section(item) else ""
            return self._problem(path, f"{title}: expected {describe(kind)}{header}, got {show(value)}")
        if not value and path in _NEVER_EMPTY:
            return self._problem(path, f"{title}: an empty list; {_NEVER_EMPTY[path]}")
        return [self._item(item, one, (*path, index), parent) for index, one in enumerate(value)]

    def _item(self, kind: Any, value: object, path: KeyPath, parent: str) -> Any:
        number = f"number {int(path[-1]) + 1}"
        if not is_section(kind):
            return self.value(kind, value, path, f"{number} of {quote(path[-2])}{_inside(parent)}")
        title = f"[[{'.'.join(one for one in path if isinstance(one, str))}]]"
        if not isinstance(value, dict):
            return self._problem(path, f"{title} {number}: expected a table, got {show(value)}")
        name = value.get("name")
        title += f" {quote(name)}" if isinstance(name, str) else f" {number}"
        return self._table(kind, value, path, f"{title}{_inside(parent)}")

    def _secret(self, secret: Secret, path: KeyPath, title: str) -> Any:
        """Fill in `${ENV:NAME}`, and refuse a key that is too short or cannot be sent in a header."""

        def look_up(found: re.Match[str]) -> str:
            if not self.around.environ.get(found[1]):
                self._problem(path, f"{title}: the environment variable {found[1]} is not set")
            return self.around.environ.get(found[1], "")

        before = len(self.problems)
        value = _ENVIRONMENT.sub(look_up, secret.reveal())
        if len(self.problems) > before:
            return None
        if value and len(value) < SHORTEST_KEY and path[0] != "upstream":  # that one others have chosen
            return self._problem(
                path,
                f"{title}: a key of {len(value)} characters can be guessed, at least {SHORTEST_KEY} are "
                f"needed; make one with: {HOW_TO_MAKE_A_KEY}",
            )
        if not all("!" <= one <= "~" for one in value):
            return self._problem(path, f"{title}: a key may hold printable ASCII only, without spaces")
        return Secret(value)

    def _absolute(self, value: str) -> str:
        if value == "~" or value.startswith("~/"):
            return str(self.around.home / value[2:])
        return str(self.around.folder / value) if value else ""

    def _meant(self, value: Any, path: KeyPath, title: str) -> Any:
        """Check the grammar of a value whose type is right, and return it."""
        grammar = _GRAMMARS.get(path[:2])
        if grammar is not None:
            try:
                grammar(value)
            except ConfigError as error:
                return self._problem(path, f"{title}: {error.message}. {error.remedy}")
        return value


def check(data: Mapping[str, Any], place: Callable[[KeyPath], str], around: Surroundings) -> Document:
    """Return the settings of a parsed relay.toml; `place` returns where messages say a key is."""
    return Checker(place, around).document(data)


_SECRETS = (("server", "api_key"), ("hub", "worker_secret"))
"""Settings that are secrets, by section."""


def holds_key(data: Mapping[str, Any]) -> bool:
    """Return whether a parsed relay.toml contains a secret itself, not only the name of a variable."""
    upstreams = data.get("upstream")
    keys = [_value(data.get(section), name) for section, name in _SECRETS]
    keys += [one.get("key") for one in upstreams] if _are_blocks(upstreams) and upstreams else []
    return any(key and not (isinstance(key, str) and _ENVIRONMENT.fullmatch(key)) for key in keys)


def _value(section: Any, name: str) -> Any:
    return section.get(name) if isinstance(section, dict) else None


def repeated_names(models: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return a problem for every name or alias that two models, or one model twice, would answer to.

    Args:
        models: Place and values of each.
    """
    problems = []
    seen: dict[str, str] = {}
    for place, model in models:
        for name in filter(None, (model.get("name"), *model.get("aliases", ()))):
            if name in seen:
                problems.append(f"{place}: a model is already called {quote(name)}, at {seen[name]}")
            seen.setdefault(name, place)
    return problems


def unknown_models(
    virtual: Iterable[tuple[str, Mapping[str, Any]]], models: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[str]:
    """Return a problem for every model that serves a virtual one and is not configured.

    Args:
        virtual: Place and values of each virtual model.
        models: Those of the others; none where all that are on this disk are served.
    """
    known = [model["name"] for _, model in models if "name" in model]
    problems = []
    for place, block in virtual:
        title = f"[[virtual]] {quote(block.get('name', ''))}"
        if not (served_by := block.get("models", ())):
            problems.append(f"{place}: {title}: models names no model that serves it")
        for name in served_by if known else ():
            if name not in known:
                guess = nearest(name, known)
                hint = f"; did you mean {quote(guess)}?" if guess else ""
                problems.append(f"{place}: {title}: there is no [[model]] {quote(name)}{hint}")
    return problems


def contradictions(models: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return a problem for each two settings of a model that cannot hold together.

    Args:
        models: Place and values of each.
    """
    problems = []
    for place, model in models:
        title = f"[[model]] {quote(model.get('name', ''))}"
        many = model.get("replicas")
        if isinstance(many, dict) and (low := many.get("min", 1)) > (high := many.get("max", low)):
            problems.append(f"{place}: {title}: replicas has min = {low} above max = {high}")
        if not model.get("idle_minutes"):
            continue
        for name, what in (("pin", "stays in memory"), ("home", "is loaded again when the machine is idle")):
            if model.get(name):
                problems.append(
                    f"{place}: {title}: idle_minutes = {model['idle_minutes']:g} unloads it, and a model "
                    f"with {name} = true {what}; keep one of them"
                )
    return problems


def _is_path(kind: Any) -> bool:
    info = types.type_info(kind)
    return isinstance(info, types.Metadata) and bool((info.extra or {}).get("path"))


def _are_blocks(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _inside(title: str) -> str:
    return f" in {title}" if title else ""


def _wrap(kind: type, value: object) -> Secret:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise TypeError
