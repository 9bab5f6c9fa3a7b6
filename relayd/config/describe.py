"""Types and values of settings, in the words of error messages."""

import json
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from msgspec import inspect as types

from relayd.config.schema import Section

_SHOWN_CHARACTERS = 40


def quote(value: object) -> str:
    """Return text between quotes, with whatever would move a terminal's cursor escaped."""
    return json.dumps(str(value))


def show(value: object) -> str:
    """Return a TOML value with its type, shortened: `the string "4k"`."""
    kind = toml_type(value).partition(" ")[2]
    if isinstance(value, str):
        cut = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}..."
        return f"the {kind} {quote(cut)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"the {kind} {value}" if isinstance(value, int | float) else toml_type(value)


def toml_type(value: object) -> str:
    """Return what TOML calls the type of a value, with its article."""
    names = {
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a float",
        list: "an array",
        dict: "a table",
    }
    return names.get(type(value), "a date or time")


def describe(kind: Any) -> str:
    """Return what a value of a schema type looks like: `an integer from 1 to 256`."""
    kind = meant(given(kind), None)
    info = types.type_info(kind)
    if isinstance(info, types.Metadata):
        return str((info.extra_json_schema or {})["description"])
    if isinstance(info, types.LiteralType):
        return " or ".join(quote(one) for one in get_args(kind))
    if isinstance(info, types.VarTupleType):
        return f"an array of {_MEMBERS.get(type(info.item_type), 'strings')}"
    if isinstance(info, types.IntType | types.FloatType):
        return _describe_number(info)
    return "true or false" if isinstance(info, types.BoolType) else "a string"


def _describe_number(info: types.IntType | types.FloatType) -> str:
    noun = "an integer" if isinstance(info, types.IntType) else "a number"
    if info.gt is not None:
        return f"{noun} above {info.gt:g}"
    if info.le is not None:
        return f"{noun} from {info.ge} to {info.le}"
    return noun if info.ge is None else f"{noun} of at least {info.ge:g}"


_MEMBERS = {types.StructType: "tables", types.FloatType: "numbers"}


def given(kind: Any) -> Any:
    """Return what a value of a schema type is where it is set: `X` of `X | None`."""
    if get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind):
        (kind,) = (one for one in get_args(kind) if one is not NoneType)
    return kind


def meant(kind: Any, value: object) -> Any:
    """Return which type of a setting that takes a table or something else a value is to have."""
    several = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)

    def fits(one: Any) -> bool:
        if isinstance(value, dict):
            return is_section(one)
        return not is_section(one) and _is_list(one) == isinstance(value, list)

    return next(filter(fits, several), several[0])


def _is_list(kind: Any) -> bool:
    return isinstance(types.type_info(kind), types.VarTupleType)


def is_section(kind: Any) -> bool:
    """Return whether a schema type is a table."""
    return isinstance(kind, type) and issubclass(kind, Section)


def is_array(kind: Any) -> bool:
    """Return whether a schema type is an array, of tables or of values."""
    return isinstance(types.type_info(meant(given(kind), None)), types.VarTupleType)
