"""Bodies that become a grammar, a parser or a regular expression in the engine: poison and bombs."""

import json
from collections.abc import Iterator

from tests.attack.case import Members, Named, Verbatim

_NESTINGS = (60, 1_000, 30_000)
_MANY = (50, 3_000, 60_000)


def grammars() -> Named:
    for depth in _NESTINGS:
        yield f"{depth} nested parentheses", _grammar("(" * depth + '"a"' + ")" * depth)
        yield f"{depth} open parentheses", _grammar("(" * depth)
        yield f"{depth} nested repetitions", _grammar("(" * depth + '"a"' + ")*" * depth)
        yield f"a chain of {depth} rules", _grammar(_chain(depth))
    for rules in (5, 20, 30):
        yield f"{rules} rules that each name the one before twice", _grammar(_doubling(rules))
        yield f"{rules} doubling rules over an optional", _grammar(_doubling(rules, '"a"?'))
    for many in _MANY:
        yield f"{many} alternatives", _grammar(" | ".join(['"a"'] * many))
        yield f"{many} rules", _grammar('"a"' + "".join(f'\nr{n} ::= "a"' for n in range(many)))
        yield f"a class of {many} characters", _grammar("[" + "ab" * (many // 2) + "]")
        yield f"a literal of {many} characters", _grammar('"' + "a" * many + '"')
    for text in ('"a"{1000000}', '(("a"{1000}){1000}){1000}', '"a"{0,2000000000}', '"a"{-1}', '"a"{5,2}'):
        yield f"repetition {text}", _grammar(text)
    broken = {
        "left recursion": 'root "a"',
        "left recursion through another rule": 'b "a"\nb ::= root',
        "a rule that is not defined": "nothing",
        "only itself": "root",
        "an open string": '"a',
        "an open class": "[a-",
        "a reversed class": "[z-a]",
        "an invalid escape": r'"\xZZ"',
        "an escape beyond Unicode": r'"\UFFFFFFFF"',
        "a NUL": '"a\0b"',
        "a lone surrogate": '"\ud800"',
        "nothing": "",
        "an empty alternative that repeats": '("")*',
        "an optional that repeats": '("a"?)*',
        "a token beyond the vocabulary": "<[99999999]>",
        "a token of no name": "<nothing>",
    }
    yield from ((name, _grammar(text)) for name, text in broken.items())
    yield "no root", {"grammar": 'a ::= "a"'}
    yield "no grammar at all", {"grammar": "\x00\x01\x02"}
    yield "a grammar beside a schema", {**_grammar('"a"'), "json_schema": {}}


def _grammar(rule: str) -> Members:
    return {"grammar": f"root ::= {rule}"}


def _chain(length: int) -> str:
    return "r0" + "".join(f"\nr{n} ::= r{n + 1}" for n in range(length)) + f'\nr{length} ::= "a"'


def _doubling(rules: int, first: str = '"a"') -> str:
    return f"r{rules}\nr0 ::= {first}" + "".join(f"\nr{n + 1} ::= r{n} r{n}" for n in range(rules))


def triggers() -> Named:
    lazy = {"grammar": 'root ::= "a"', "grammar_lazy": True}
    patterns = {
        "nested groups": "(" * 50_000 + "a" + ")" * 50_000,
        "open groups": "(" * 50_000,
        "an open class": "[",
        "a regex bomb": "(a*)*(a*)*(a*)*b",
        "look-behind": "(?<=a)b",
        "a back reference": r"(a)\1",
        "many repetitions": "(((a{1,100}){1,100}){1,100}){1,100}",
        "50,000 characters": "a" * 50_000,
        "a NUL": "a\0",
        "nothing": "",
    }
    kinds: tuple[object, ...] = (-1, 0, 1, 2, 3, 4, 99, 2**31, 0.5, "word", None, [], {}, True)
    for kind in kinds:
        yield f"type {kind!r}", {**lazy, "grammar_triggers": [{"type": kind, "value": "a"}]}
    for name, pattern in patterns.items():
        for number in (2, 3):
            asked = [{"type": number, "value": pattern}]
            yield f"pattern of {name}, type {number}", {**lazy, "grammar_triggers": asked}
    for token in (-1, 2**31 - 1, 2**63, "a", None):
        yield f"token {token!r}", {**lazy, "grammar_triggers": [{"type": 0, "value": "a", "token": token}]}
    others: tuple[object, ...] = ([1], ["a"], [None], [[]], [{}], {}, "a", 1)
    for wrong in others:
        yield f"triggers {wrong!r}", {**lazy, "grammar_triggers": wrong}
    yield "no triggers", lazy
    yield "30,000 triggers", {**lazy, "grammar_triggers": [{"type": 1, "value": "a"}] * 30_000}
    yield "300,000 preserved tokens", {**lazy, "preserved_tokens": ["a"] * 300_000}
    yield "preserved tokens of other types", {**lazy, "preserved_tokens": [1, None, {}, []]}


def parsers() -> Named:
    itself = {"parsers": [{"type": "sequence", "children": [0]}], "root": 0}
    deep: object = {"type": "literal"}
    for _ in range(40):
        deep = {"type": "sequence", "children": [deep]}
    for name, value in {
        "that contains itself": json.dumps(itself),
        "that contains itself, in a rule": json.dumps({"rules": {"a": 0}, **itself}),
        "of 40 levels": json.dumps(deep),
        "of 30,000 levels": "[" * 30_000,
        "that is no JSON": "{",
        "without root": '{"parsers":[]}',
        "with a child beyond the list": '{"parsers":[{"type":"sequence","children":[9]}],"root":0}',
        "with a negative child": '{"parsers":[{"type":"sequence","children":[-1]}],"root":-1}',
        "that is a number": 5,
        "that is an object": itself,
        "that is a list": [[]],
        "of a million characters": "a" * 1_000_000,
    }.items():
        yield f"chat_parser {name}", {"chat_parser": value}
        yield f"chat_parser {name}, PEG", {"chat_parser": value, "chat_format": 4}
    formats: tuple[object, ...] = (-1, 1, 3, 4, 5, 30, 99, 2**31, 2**63, 0.5, "x", None, [], {})
    for number in formats:
        yield f"chat_format {number!r}", {"chat_format": number}
    others: tuple[object, ...] = ("\0" * 10, "x" * 100_000, -1, [], {}, None, True)
    for name in ("reasoning_format", "generation_prompt", "parse_tool_calls", "thinking_forced_open"):
        for wrong in others:
            yield f"{name} {wrong!r:.20}", {name: wrong}
    yield (
        "a parser and a lazy grammar",
        {"chat_parser": "{}", "grammar": 'root ::= "a"', "grammar_lazy": True},
    )


def schemas() -> Iterator[tuple[str, object]]:
    """Yield schemas for each of the places where one may stand."""
    for many in (50, 2_000, 20_000):
        yield f"{many} properties", _object({f"p{n}": {"type": "string"} for n in range(many)})
        yield f"{many} required properties", _object({f"p{n}": {} for n in range(many)}, required=True)
        yield f"{many} of oneOf", {"oneOf": [{"const": n} for n in range(many)]}
        yield f"{many} of allOf", {"allOf": [{"type": "object"}] * many}
        yield f"{many} types", {"type": ["string", "number"] * (many // 2)}
        yield f"{many} items in a tuple", {"type": "array", "prefixItems": [{"type": "integer"}] * many}
        yield f"an enum of {many * 10}", {"enum": [f"value {n}" for n in range(many * 10)]}
        yield f"{many} definitions", {"$defs": {f"d{n}": {"type": "null"} for n in range(many)}}
    for depth in (10, 25, 500, 3_000):
        yield f"{depth} levels of objects", _nested(depth, "object")
        yield f"{depth} levels of arrays", _nested(depth, "array")
    for key in ("minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum"):
        for value in (1_000_000, 2**31, 2**64, -5, 1e308, "a"):
            kind = "array" if "Items" in key else "string" if "Length" in key else "integer"
            yield f"{key} {value!r}", {"type": kind, "items": {"type": "integer"}, key: value}
    for pattern in (
        *("^(a*)*$", "^" + "(" * 20_000 + ")" * 20_000 + "$", "^a{1000000}$", "^[$", "(", "^(?=a)b$"),
        *(r"^\p{L}+$", r"^(((a{1,100}){1,100}){1,100})$", "^\0$", "no anchors", "^" + "a|" * 30_000 + "b$"),
    ):
        yield f"pattern {pattern!r:.30}", {"type": "string", "pattern": pattern}
    for target in ("#", "#/$defs/a", "#/nothing", "http://127.0.0.1:1/x", "file:///etc/passwd", "", 5):
        yield (
            f"$ref {target!r}",
            {"$ref": target, "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": target}}},
        )
    others: tuple[object, ...] = (None, True, False, 0, "a", [], [[]], {"type": 5}, {"type": "nothing"})
    for wrong in others:
        yield f"schema {wrong!r}", wrong
    values: tuple[object, ...] = (5, [], {}, [5], {"a": 5}, None)
    for key in "properties required enum oneOf anyOf items format additionalProperties".split():
        for other in values:
            yield f"schema of {key} {other!r}", {"type": "object", key: other}
    yield "a const of a million characters", {"const": "a" * 1_000_000}
    yield (
        "doubling references",
        {
            "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, 30)}
            | {"d0": {}},
            "$ref": "#/$defs/d29",
        },
    )


def _object(properties: dict[str, object], *, required: bool = False) -> dict[str, object]:
    names = {"required": list(properties)} if required else {}
    return {"type": "object", "properties": properties, **names}


def _nested(depth: int, kind: str) -> Verbatim:
    inner, end = ('"properties":{"a":', "}}") if kind == "object" else ('"items":', "}")
    return Verbatim(f'{{"type":"{kind}",{inner}' * depth + "{}" + end * depth)
