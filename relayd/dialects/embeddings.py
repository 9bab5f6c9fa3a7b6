"""How does an answer get vectors of the length that a request asks for (`dimensions`)?

The engine ignores the member (b11434). A model that is trained for it keeps what matters in the first numbers
of a vector, so the rest is cut off, and what is left is brought to length one again.
"""

import base64
import sys
from array import array
from collections.abc import Mapping
from math import hypot
from typing import Any

import msgspec

from relayd.dialects.collected import CollectedAnswer
from relayd.errors import RequestError, UpstreamError


class _EmbeddedInput(msgspec.Struct):
    embedding: str
    index: int = 0


class _EmbeddedInputs(msgspec.Struct):
    data: list[_EmbeddedInput]
    model: str = ""
    object: str = "list"
    usage: dict[str, int] = {}


_inputs = msgspec.json.Decoder(_EmbeddedInputs)


def shortened(
    members: Mapping[str, msgspec.Raw], most: int
) -> "tuple[dict[str, msgspec.Raw], ShortenedVectors] | None":
    """Return what the engine is asked for, and what shortens its answer; None where nothing is shortened.

    Args:
        members: Of a request for embeddings; their types are checked.
        most: Numbers in the model's vectors; 0 where that is not known.

    Raises:
        RequestError: The model's vectors are shorter.
    """
    dimensions = msgspec.json.decode(members.get("dimensions", b"null"))
    if dimensions is None or dimensions == most:
        return None
    if 0 < most < dimensions:
        raise RequestError(
            f"dimensions is {int(dimensions):,}; the vectors of this model have {most:,}.",
            remedy="Ask for as many or fewer, or leave it out.",
            param="dimensions",
        )
    asked = {name: value for name, value in members.items() if name != "dimensions"}
    as_floats = bytes(asked.get("encoding_format", b"null")) != b'"base64"'
    normalizes = bytes(members.get("embd_normalize", b"2")) == b"2"
    asked["encoding_format"] = msgspec.Raw(b'"base64"')
    return asked, ShortenedVectors(int(dimensions), as_floats=as_floats, normalizes=normalizes)


class ShortenedVectors(CollectedAnswer):
    """Cuts the vectors of an answer.

    Args:
        dimensions: Numbers that are left of each.
        as_floats: They are written as numbers; else as base64.
        normalizes: They are brought to length one.
    """

    def __init__(self, dimensions: int, *, as_floats: bool, normalizes: bool) -> None:
        super().__init__()
        self._dimensions = dimensions
        self._as_floats = as_floats
        self._normalizes = normalizes

    def end(self) -> bytes:
        """Return the whole answer.

        Raises:
            UpstreamError: The engine's is not what it should be, or its vectors are too short.
        """
        try:
            answer = _inputs.decode(self.collected())
        except msgspec.DecodeError as error:
            raise UpstreamError("The replica's answer holds no vectors.") from error
        data: list[dict[str, Any]] = [
            {"object": "embedding", "index": one.index, "embedding": self._cut(one.embedding)}
            for one in answer.data
        ]
        whole = {"object": answer.object, "data": data, "model": answer.model, "usage": answer.usage}
        return msgspec.json.encode(whole)

    def _cut(self, encoded: str) -> list[float] | str:
        vector = array("f", base64.b64decode(encoded))
        if sys.byteorder == "big":
            vector.byteswap()
        if len(vector) < self._dimensions:
            raise UpstreamError(f"The vectors of this model have {len(vector)} numbers.")
        vector = vector[: self._dimensions]
        if self._normalizes and (length := hypot(*vector)):
            vector = array("f", [number / length for number in vector])
        if self._as_floats:
            return vector.tolist()
        if sys.byteorder == "big":
            vector.byteswap()
        return base64.b64encode(vector.tobytes()).decode()
