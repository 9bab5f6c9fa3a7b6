"""Is relayd alive, can it serve, and how are its models (health checks)?"""

from collections.abc import Callable, Container, Sequence
from dataclasses import asdict, dataclass

from aiohttp import web

from relayd.api.admission import Access, RequestContext, Route
from relayd.api.answer import json_answer
from relayd.api.fleet import ModelDirectory, ModelState, ModelView, real_models


@dataclass(frozen=True, slots=True)
class HealthWorker:
    """What works on requests, in the members that ModelRelay lists.

    Attributes:
        id: Its name.
        provider: What it belongs to.
        models: What it answers to, the name of its model first.
        in_flight: Requests that it works on.
        max_concurrent: Those that it can work on.
        is_draining: It takes no more.
    """

    id: str
    provider: str
    models: tuple[str, ...]
    in_flight: int
    max_concurrent: int
    is_draining: bool


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a daemon does, for those who may see more than the public.

    Attributes:
        version: Of relayd.
        uptime_secs: How long it has run.
        queue_depth: Requests that wait.
        workers: What works on requests.
    """

    version: str = ""
    uptime_secs: float = 0.0
    queue_depth: int = 0
    workers: tuple[HealthWorker, ...] = ()


def overall(models: Sequence[ModelView]) -> str:
    """Return `ok` (all replicas serve), `loading` (none does yet) or `degraded` (some do not).

    A replica that is only not in memory is where it should be: it makes nothing worse.
    """
    if all(model.replicas_ready + model.replicas_cold >= model.replicas for model in models):
        return "ok"
    loading = any(model.state in (ModelState.LOADING, ModelState.WAITING) for model in models)
    return "loading" if loading and not can_serve(models) else "degraded"


def can_serve(models: Sequence[ModelView]) -> bool:
    """Return whether any model has a replica that serves."""
    return any(model.replicas_ready for model in models)


def can_be_served(models: Sequence[ModelView]) -> bool:
    """Return whether a request can be served, now or after its model was loaded for it (cold)."""
    return can_serve(models) or any(model.state is ModelState.COLD for model in models)


def health_routes(fleet: ModelDirectory, vitals: Callable[[], Vitals] = Vitals) -> tuple[Route, ...]:
    """Return the routes that monitors ask.

    Args:
        fleet: The models.
        vitals: Returns how the daemon does.

    `/healthz` reports that the process answers, `/readyz` that a model does; `/health` reports how
    things are, with 503 while no request can be served, and names models only to those who may use them.
    """

    async def alive(_request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
        return json_answer({"status": "ok"})

    async def ready(_request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
        if can_serve(real_models(fleet.models())):
            return json_answer({"status": "ready"})
        return json_answer({"status": "not_ready"}, status=503)

    async def health(_request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        models = real_models(fleet.models())
        summary: dict[str, object] = {"status": overall(models)}
        if context.trusted:
            visible = real_models(context.visible(fleet))
            summary["models"] = [_model(model) for model in visible]
            summary |= _as_modelrelay(vitals(), {model.name for model in visible})
        return json_answer(summary, status=200 if can_be_served(models) else 503)

    return (
        Route("GET", "/healthz", alive, Access.PUBLIC),
        Route("GET", "/readyz", ready, Access.PUBLIC),
        Route("GET", "/health", health, Access.PUBLIC),
        Route("GET", "/v1/health", health, Access.PUBLIC),
    )


def _as_modelrelay(vitals: Vitals, visible: Container[str]) -> dict[str, object]:
    """Return what ModelRelay's `/health` has, of the models that may be seen."""
    workers = [one for one in vitals.workers if any(model in visible for model in one.models)]
    return {
        "version": vitals.version,
        "workers_connected": len(workers),
        "queue_depth": vitals.queue_depth,
        "uptime_secs": round(vitals.uptime_secs, 3),
        "workers": [asdict(worker) for worker in workers],
    }


def _model(model: ModelView) -> dict[str, object]:
    return {
        "id": model.name,
        "state": model.state.value,
        "replicas_ready": model.replicas_ready,
        "replicas": model.replicas,
    }
