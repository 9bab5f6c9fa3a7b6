"""What may the value of a setting be: its range and form, and how they are described?"""

from typing import Annotated, Any, Literal

from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0)]
"""A wait that may be zero."""

Interval = Annotated[float, Meta(gt=0)]
"""A period or deadline that makes no sense at zero."""

Minutes = Annotated[float, Meta(ge=0)]

Mebibytes = Annotated[float, Meta(gt=0)]

Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]

CountOrUnlimited = Annotated[
    Count | Literal["unlimited"], Meta(description='an integer of at least 1, or "unlimited"')
]

SecondsOrUnlimited = Annotated[
    Seconds | Literal["unlimited"], Meta(description='a number of at least 0, or "unlimited"')
]

CountOrZero = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""llama-server holds its counts in 32 signed bits."""

ReplicaCount = Annotated[
    int,
    Meta(ge=1, le=2**31 - 1, description="an integer of at least 1, or a range like { min = 1, max = 3 }"),
]

ModelName = Annotated[
    str,
    Meta(
        pattern=r"\A(?=.{1,128}\Z)[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*)*\Z",
        description=(
            "a name of at most 128 letters, digits and . _ : - that begins with a letter or digit "
            "(/ only between two such names)"
        ),
    ),
]

AliasName = Annotated[
    str,
    Meta(
        pattern=r"\A(?=.{1,128}\Z)[A-Za-z0-9*][A-Za-z0-9._:*-]*(/[A-Za-z0-9*][A-Za-z0-9._:*-]*)*\Z",
        description=(
            "a name of at most 128 letters, digits and . _ : - that begins with a letter or digit "
            "(/ only between two such names), with * for any characters"
        ),
    ),
]

DefaultName = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9._:/-]{0,128}\Z",
        description="the name of a model, or an empty string",
    ),
]

ProxyNetwork = Annotated[
    str,
    Meta(
        pattern=r"\A[0-9A-Fa-f.:]{2,45}(/[0-9]{1,3})?\Z",
        description='an address, or a network like "10.0.0.0/8"',
    ),
]

FilePath = Annotated[
    str,
    Meta(
        pattern=r"\A[^-\0][^\0]*\Z",
        description='a path that is not empty and does not begin with "-"',
        extra={"path": True},
    ),
]

OptionalFilePath = Annotated[
    str,
    Meta(
        pattern=r"\A(?!-)[^\0]*\Z",
        description='a path that does not begin with "-"',
        extra={"path": True},
    ),
]

MemberName = Annotated[
    str, Meta(pattern=r"\A[A-Za-z0-9_.-]{1,64}\Z", description="the name of a member of a request's body")
]

Parameters = Annotated[dict[str, Any], Meta(description="a table of members of a request's body")]

Share = Annotated[float, Meta(ge=0)]

CacheType = Annotated[
    str,
    Meta(
        pattern=r"\A(f32|f16|bf16|q8_0|q5_1|q5_0|q4_1|q4_0|iq4_nl)\Z",
        description="one of f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl",
    ),
]
"""What `--cache-type-k` takes (llama.cpp b11434, common/arg.cpp)."""

WebhookUrl = Annotated[
    str,
    Meta(pattern=r"^https?://[^\s/?#]+[^\s]*$", max_length=2048, description="an http or https URL"),
]

UpstreamUrl = Annotated[
    str,
    Meta(
        pattern=r"\Ahttps?://(?![^/]*@)[^\s/?#]+(/[^\s?#]*)?\Z",
        max_length=2048,
        description="an http or https URL without user, query or fragment, like http://127.0.0.1:11434",
    ),
]

OriginName = Annotated[
    str,
    Meta(
        pattern=r"\A([A-Za-z0-9][A-Za-z0-9._-]{0,63})?\Z",
        description="a name of at most 64 letters, digits and . _ - that begins with a letter or digit",
    ),
]
"""What an upstream or a node is called."""

RemoteModelName = Annotated[
    str,
    Meta(
        pattern=r"\A[\x21-\x7e]{1,256}\Z",
        description='a model\'s name there, "ours=theirs", or a pattern with *',
    ),
]

HubUrl = Annotated[
    str,
    Meta(
        pattern=r"\A(wss?://[^\s/@?#]+)?\Z",
        description="an address like wss://hub.example, without a path, or an empty string",
    ),
]

BusUrl = Annotated[
    str,
    Meta(
        pattern=r"\A((nats|tls)://[^\s/@?#,]+(,(nats|tls)://[^\s/@?#,]+)*)?\Z",
        description="addresses like nats://bus.example:4222, with commas between them, or an empty string",
    ),
]

WakeAddress = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9][A-Za-z0-9._:-]*=([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\Z",
        description="a node and the hardware address of its network card, like box1=aa:bb:cc:dd:ee:ff",
    ),
]

ProviderLine = Annotated[
    str,
    Meta(
        pattern=r"\A[^\s=]{1,128}( (cost=[0-9]{1,6}(\.[0-9]+)?|models=[^\s]+"
        r"|weight=(0\.[0-9]*[1-9]|[1-9][0-9]{0,2}(\.[0-9]+)?))){1,3}\Z",
        description='a provider and what holds for it, like "cloud cost=60 weight=0.5 models=qwen*,gemma*"',
    ),
]

Sha256 = Annotated[
    str, Meta(pattern=r"\A([0-9a-fA-F]{64})?\Z", description="a SHA-256 of 64 hex digits, or an empty string")
]

Origin = Annotated[
    str,
    Meta(
        pattern=r"\A(null|(?!(?:file|data|blob|javascript):)[A-Za-z][A-Za-z0-9+.-]*://[^\s/@*?#]+)\Z",
        description="an origin (scheme, host and port, no path) like https://app.example:8443 or "
        "app://obsidian.md",
    ),
]


HostName = Annotated[
    str,
    Meta(
        pattern=r"\A(\[[0-9A-Fa-f:.]+\]|[^\s/@*?#:\[\]]+)\Z",
        description="a host name or address, without port or wildcard; IPv6 in brackets",
    ),
]
