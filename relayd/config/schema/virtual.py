"""One virtual model: a name with parameters of its own, served by other models."""

from typing import Any

import msgspec

from relayd.config.schema.section import Section
from relayd.config.values import AliasName, MemberName, ModelName, Parameters


class VirtualModel(Section, frozen=True):
    """A name that other models serve, with parameters of its own.

    Attributes:
        name: What clients ask for.
        models: Who serves it: the first that can, the others when it is given up, stopped or has no place.
        aliases: Other names that clients may use; `*` is any characters.
        system: Text before the system prompt of every conversation.
        set: Members that every request has, whatever the client sends, in llama-server's names.
        defaults: Members of requests that do not set them.
        strip: Members that are taken out of every request.
    """

    name: ModelName
    models: tuple[ModelName, ...]
    aliases: tuple[AliasName, ...] = ()
    system: str = ""
    set: Parameters = msgspec.field(default_factory=dict[str, Any])
    defaults: Parameters = msgspec.field(default_factory=dict[str, Any])
    strip: tuple[MemberName, ...] = ()
