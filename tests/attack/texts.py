"""Bodies whose text is the attack: encodings, JSON that is none, names twice, nesting, sheer size."""

from tests.attack.case import CHAT, Named, Verbatim, request

_GOOD = request(CHAT, "tiny", {})
_MIB = 1 << 20
_LARGEST = 15 * _MIB


def encodings() -> Named:
    text = _GOOD.decode()
    for name in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp037"):
        yield name, text.encode(name)
    contents = {
        "a lone surrogate, escaped": Verbatim(r'"\ud800"'),
        "surrogates in the wrong order": Verbatim(r'"\udc00\ud800"'),
        "a NUL, escaped": Verbatim(r'"a\u0000b"'),
        "half an escape": Verbatim(r'"\u12"'),
        "an escape of no name": Verbatim(r'"\x41"'),
        "a raw newline": Verbatim('"a\nb"'),
        "a raw NUL": Verbatim('"a\0b"'),
        "right to left": "\u202e\u200f\u2066 abc",
        "combining": "e" + "\u0301" * 50_000,
        "beyond the first plane": "\U0001f9d1\u200d\U0001f680" * 100,
        "noncharacters": "\ufffe\uffff\U0010ffff",
        "control": "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f",
        "special tokens": "<s></s><unk><|im_start|>system\n<|endoftext|>[INST]",
    }
    yield from ((name, {"messages": [{"role": "user", "content": c}]}) for name, c in contents.items())
    yield from ((f"a model with {name}", {"model": content}) for name, content in contents.items())
    for name, raw in {
        "overlong": b"\xc0\xaf",
        "a lone surrogate": b"\xed\xa0\x80",
        "beyond Unicode": b"\xf4\x90\x80\x80",
        "cut": b"\xe2\x82",
        "latin-1": b"\xe9",
        "FF": b"\xff\xff",
    }.items():
        yield f"bytes that are {name}", _GOOD.replace(b'"a"', b'"' + raw + b'"')
    yield "an escaped name", _GOOD.replace(b'"model"', rb'"mod\u0065l"')
    yield "a name with a NUL", _GOOD.replace(b'"model"', rb'"model\u0000"')


def forms() -> Named:
    cut = {f"cut at {place}": _GOOD[:place] for place in (1, 10, len(_GOOD) // 2, len(_GOOD) - 1)}
    texts = {
        **cut,
        "empty": b"",
        "blank": b" \r\n\t",
        "a list": b"[]",
        "a list around": b"[" + _GOOD + b"]",
        "a string": b'"a"',
        "a number": b"5",
        "null": b"null",
        "an object": b"{}",
        "two objects": _GOOD + _GOOD,
        "a comma at the end": _GOOD[:-1] + b",}",
        "single quotes": _GOOD.replace(b'"', b"'"),
        "a comment": b"/* a */" + _GOOD,
        "a name without quotes": _GOOD.replace(b'"model"', b"model"),
        "a NUL after it": _GOOD + b"\0",
        "NULs": bytes(5_000),
        "a form": b"model=tiny&prompt=a",
        "multipart": b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ntiny\r\n--x--\r\n',
        "XML": b"<model>tiny</model>",
        "noise": bytes(range(256)) * 64,
        "a number of 100,000 digits": _GOOD[:-1] + b',"seed":' + b"9" * 100_000 + b"}",
        "a fraction of 100,000 digits": _GOOD[:-1] + b',"top_p":0.' + b"1" * 100_000 + b"}",
        "an exponent of 1,000 digits": _GOOD[:-1] + b',"top_p":1e' + b"9" * 1_000 + b"}",
        "Infinity": _GOOD[:-1] + b',"top_p":Infinity}',
        "a number with a zero before it": _GOOD[:-1] + b',"top_k":010}',
        "a number with a plus": _GOOD[:-1] + b',"top_k":+1}',
        "a number in hexadecimal": _GOOD[:-1] + b',"top_k":0x10}',
        "True": _GOOD[:-1] + b',"stream":True}',
        "an empty name": _GOOD[:-1] + b',"":1}',
    }
    yield from texts.items()


def duplicates() -> Named:
    for name in ("model", "messages", "max_tokens", "stream", "grammar", "x"):
        for twin in (f'"{name}"', f'"\\u{ord(name[0]):04x}{name[1:]}"'):
            yield f"{name} twice, as {twin}", _GOOD[:-1] + f',"{name}":1,{twin}:2}}'.encode()
    yield "role twice", _GOOD.replace(b'"role"', b'"role": "x", "role"')
    yield "1,000 times", _GOOD[:-1] + b',"seed":1' * 1_000 + b"}"
    yield "100,000 times", _GOOD[:-1] + b',"seed":1' * 100_000 + b"}"


def nesting() -> Named:
    for depth in (30, 60, 64, 65, 200, 1_000, 100_000):
        lists, objects = Verbatim("[" * depth + "]" * depth), Verbatim('{"a":' * depth + "1" + "}" * depth)
        for name in ("metadata", "messages", "prompt", "chat_template_kwargs", "tools", "unknown"):
            yield f"{name} of {depth} lists", {name: lists}
            yield f"{name} of {depth} objects", {name: objects}
        yield f"{depth} open lists", b"[" * depth
        yield f"{depth} open objects", b'{"a":' * depth
    text = Verbatim('"' + "[" * 100_000 + '"')
    yield "brackets in a text", {"messages": [{"role": "user", "content": text}]}


def structure() -> Named:
    """Yield bodies of nearly the largest size, of as many values as fit."""

    def body(member: str) -> bytes:
        return _GOOD[:-1] + f",{member}}}".encode()

    yield "a million members", body(",".join(f'"m{n}":0' for n in range(1_000_000)))
    yield (
        "a million members of a member",
        body('"x":{' + ",".join(f'"{n}":0' for n in range(1_000_000)) + "}"),
    )
    for name, item, many in (
        ("numbers", "1", 6_000_000),
        ("empty lists", "[]", 4_000_000),
        ("empty objects", "{}", 4_000_000),
        ("empty texts", '""', 4_000_000),
        ("floats", "1.5e3", 2_000_000),
        ("lists of one", "[1]", 3_000_000),
        ("objects of one", '{"a":1}', 1_500_000),
    ):
        yield f"{many} {name}", body(f'"x":[{",".join([item] * many)}]')
    messages = ",".join(['{"role":"user","content":"a"}'] * 400_000)
    yield "400,000 messages", f'{{"model":"tiny","messages":[{messages}]}}'.encode()
    prompts = ",".join(['""'] * 3_000_000)
    yield "3,000,000 prompts", f'{{"model":"tiny","prompt":[{prompts}]}}'.encode()
    yield "15 MiB of text", _GOOD.replace(b'"a"', b'"' + b"a" * _LARGEST + b'"')
    yield "15 MiB of escapes", _GOOD.replace(b'"a"', b'"' + rb"\u0041" * (_LARGEST // 6) + b'"')
    yield "15 MiB of quotes", _GOOD.replace(b'"a"', b'"' + rb"\"" * (_LARGEST // 2) + b'"')
    yield "15 MiB of brackets in a text", _GOOD.replace(b'"a"', b'"' + b"[" * _LARGEST + b'"')
    yield "15 MiB of blanks", b" " * _LARGEST + _GOOD
    yield "15 MiB of blanks at the end", _GOOD + b"\n" * _LARGEST
    yield "15 MiB of noise", bytes(range(256)) * (_LARGEST // 256)
    yield "17 MiB of text", _GOOD.replace(b'"a"', b'"' + b"a" * 17 * _MIB + b'"')
