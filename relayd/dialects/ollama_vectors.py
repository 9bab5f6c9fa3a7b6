"""How are vectors written as Ollama writes them?"""

import msgspec

from relayd.dialects.collected import CollectedAnswer
from relayd.dialects.embeddings import ShortenedVectors
from relayd.dialects.ollama_answer import TimeSource
from relayd.errors import UpstreamError

_NS = 1_000_000_000


class _ReadTokens(msgspec.Struct, gc=False):
    prompt_tokens: int = 0


class _OneVector(msgspec.Struct):
    embedding: list[float]


class _Vectors(msgspec.Struct):
    data: list[_OneVector]
    usage: _ReadTokens = msgspec.field(default_factory=_ReadTokens)


_vectors = msgspec.json.Decoder(_Vectors)


class OllamaVectors(CollectedAnswer):
    """Rewrites vectors.

    Args:
        model: The model as the client named it.
        clock: Measures.
        single: The answer is that of `/api/embeddings`: one vector.
        cut: Shortens the vectors first.
    """

    def __init__(
        self, model: str, clock: TimeSource, *, single: bool = False, cut: ShortenedVectors | None = None
    ) -> None:
        super().__init__()
        self._model, self._clock, self._single, self._cut = model, clock, single, cut
        self._began = clock.monotonic()

    def end(self) -> bytes:
        """Return the whole answer.

        Raises:
            UpstreamError: The engine's holds no vectors.
        """
        payload = self.collected()
        if self._cut is not None:
            payload = self._cut.feed(payload) + self._cut.end()
        try:
            answer = _vectors.decode(payload)
        except msgspec.DecodeError as error:
            raise UpstreamError("The replica's answer holds no vectors.") from error
        vectors = [one.embedding for one in answer.data]
        if self._single:
            return msgspec.json.encode({"embedding": vectors[0] if vectors else []})
        total = max(1, int((self._clock.monotonic() - self._began) * _NS))
        return msgspec.json.encode(
            {
                "model": self._model,
                "embeddings": vectors,
                "total_duration": total,
                "load_duration": 1,
                "prompt_eval_count": max(1, answer.usage.prompt_tokens),
            }
        )
