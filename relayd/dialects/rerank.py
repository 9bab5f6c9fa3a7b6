"""What do requests to rank documents become, and how are they answered, in Jina's form and in Cohere's?

The engine takes strings only, and returns no documents (b11434).
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from relayd.dialects.collected import CollectedAnswer
from relayd.errors import RequestError, UpstreamError

Form = Literal["jina", "cohere"]

_encode = msgspec.json.Encoder().encode


def for_engine(members: Mapping[str, msgspec.Raw]) -> tuple[dict[str, msgspec.Raw], list[Any] | None]:
    """Return the members that the engine reads, and the documents where the client wants them back.

    Raises:
        RequestError: A document has no text.
    """
    changed = dict(members)
    wanted = bytes(changed.pop("return_documents", msgspec.Raw(b"null"))) == b"true"
    raw = changed.get("documents")
    if raw is None or bytes(raw) == b"null":
        return changed, None
    documents = msgspec.json.decode(raw, type=list[Any])
    texts = [_text(document, number) for number, document in enumerate(documents)]
    if texts != documents:
        changed["documents"] = msgspec.Raw(_encode(texts))
    back = [one if isinstance(one, dict) else {"text": one} for one in documents]
    return changed, back if wanted else None


def _text(document: object, number: int) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        raise RequestError(
            f"documents[{number}] has no text.",
            remedy='Send strings, or objects like {"text": "…"}.',
            param="documents",
        )
    return text


class RankedDocuments(CollectedAnswer):
    """Rewrites an answer of the engine.

    Args:
        form: Whose form it has.
        documents: What is sent back with the results; None for no documents.
        name: The id of the answer, in Cohere's form.
    """

    def __init__(self, form: Form, documents: list[Any] | None, name: str) -> None:
        super().__init__()
        self._form = form
        self._documents = documents
        self._name = name

    def end(self) -> bytes:
        """Return the whole answer.

        Raises:
            UpstreamError: The engine's own is not what it should be.
        """
        try:
            answer = msgspec.json.decode(self.collected(), type=dict[str, Any])
            results = answer["results"]
            if self._documents is not None:
                for result in results:
                    result["document"] = self._documents[result["index"]]
        except (msgspec.DecodeError, LookupError, TypeError) as error:
            raise UpstreamError("The replica's answer holds no results.") from error
        if self._form == "jina":
            return _encode(answer)
        tokens = answer.get("usage", {}).get("prompt_tokens", 0)
        meta = {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": tokens, "output_tokens": 0},
        }
        return _encode({"id": self._name, "results": results, "meta": meta})
