"""The ranking of documents, in every spelling that clients use: llama-server's, Jina's and Cohere's."""

from collections.abc import Iterator

from relayd.api.admission import RequestContext, Route
from relayd.api.fleet import ModelView
from relayd.api.forwarding import Adapt, Adapted, Forwarding, Members, rewritten
from relayd.api.inference import Inference
from relayd.api.openai import OPENAI
from relayd.dialects.rerank import Form, RankedDocuments, for_engine
from relayd.router import LLAMA_SERVER, Dialect, Peek

PATHS: dict[str, Form] = {
    "/v1/rerank": "jina", "/rerank": "jina", "/v1/reranking": "jina", "/reranking": "jina",
    "/v2/rerank": "cohere",
}  # fmt: skip
"""Each path, and whose form its answers have."""

_ENGINE = "/v1/rerank"


def rerank_routes(inference: Inference) -> tuple[Route, ...]:
    """Return the routes that rank documents."""
    return tuple(inference.routes(OPENAI, rerank_forwardings()))


def rerank_forwardings() -> Iterator[Forwarding]:
    """Yield the paths that rank documents."""
    for path, form in PATHS.items():
        yield Forwarding(path, LLAMA_SERVER[_ENGINE], _ranking(form), ability="rerank")


def _ranking(form: Form) -> Adapt:
    def adapt(members: Members, _seen: Peek, _model: ModelView, context: RequestContext) -> Adapted:
        asked, documents = for_engine(members)
        if form == "jina" and documents is None:
            return Adapted(rewritten(asked), _ENGINE)
        ranked = RankedDocuments(form, documents, context.request_id)
        return Adapted(rewritten(asked), _ENGINE, _answering(ranked))

    return adapt


def _answering(ranked: RankedDocuments) -> Dialect:
    return OPENAI.answering(ranked)
