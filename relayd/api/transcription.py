"""The transcription of audio (OpenAI's form), by models that take audio."""

import uuid
from collections.abc import Iterable

import msgspec

from relayd.api.admission import Incoming, RequestContext, Route
from relayd.api.body import read_body, take_body
from relayd.api.delivery import Delivery
from relayd.api.fleet import ModelView
from relayd.api.inference import Inference
from relayd.api.openai import OPENAI
from relayd.api.served import over_aiohttp
from relayd.dialects.multipart import FormPart, boundary_of, read_form, write_form
from relayd.errors import RequestError
from relayd.router import Call, Recipient

PATHS = ("/v1/audio/transcriptions", "/audio/transcriptions")

FIELDS = ("file", "language", "model", "prompt", "response_format", "stream", "temperature")
"""What a form may hold; other fields are left out."""

_LONGEST_FIELD = 4096


def transcription_routes(inference: Inference) -> tuple[Route, ...]:
    """Return the routes that transcribe audio."""

    async def serve(request: Incoming, client: Recipient, context: RequestContext) -> None:
        hold = inference.bodies.hold()
        try:
            with (
                inference.exchanges.begin(context.request_id, PATHS[0], context.key) as record,
                context.use(record, OPENAI) as use,
            ):
                limit = inference.max_body
                if (body := take_body(request, limit=limit, hold=hold)) is None:
                    body = await read_body(
                        request, limit=limit, progress_seconds=inference.body_seconds, hold=hold
                    )
                form = read_form(body, boundary_of(request.headers.get("Content-Type", "")))
                model = _listening(context.find(inference.fleet, _field(form, "model") or None))
                if left_out := sorted({part.name for part in form} - {*FIELDS}):
                    context.headers["X-Relayd-Changed"] = f"left out: {', '.join(map(_plain, left_out))}"
                delivery = Delivery(request, client, context, _call(form), OPENAI, use)
                await inference.carry(delivery, record, model, 1)
        finally:
            hold.release()

    return tuple(Route("POST", path, over_aiohttp(serve), dialect=OPENAI, direct=serve) for path in PATHS)


def _listening(model: ModelView) -> ModelView:
    if "audio" not in model.abilities:
        raise RequestError(
            f"The model {model.name} takes no audio.",
            remedy="Use a model that takes it; an operator can set its projector in relay.toml.",
            param="model",
        )
    return model


def _call(form: Iterable[FormPart]) -> Call:
    """Return what the engine gets: the fields it reads, written anew.

    Raises:
        RequestError: There is not exactly one file, or a field is too long.
    """
    kept = [part for part in form if part.name in FIELDS and part.name != "model"]
    if [part.name for part in kept if part.file or part.name == "file"] != ["file"]:
        raise RequestError(
            "The form has not exactly one file.", remedy="Send one as the field file.", param="file"
        )
    for part in kept:
        if part.name != "file" and len(part.value) > _LONGEST_FIELD:
            raise RequestError(f"{part.name} is longer than {_LONGEST_FIELD:,} bytes.", param=part.name)
    boundary = uuid.uuid4().hex
    content_type = f"multipart/form-data; boundary={boundary}"
    return Call(PATHS[0], write_form(kept, boundary.encode()), _asks_for_stream(kept), content_type)


def _asks_for_stream(form: Iterable[FormPart]) -> bool:
    return _field(form, "stream").lower() in ("true", "1")


def _field(form: Iterable[FormPart], name: str) -> str:
    return next((part.text for part in form if part.name == name), "")


def _plain(name: str) -> str:
    """Return a name as a header can carry it."""
    return msgspec.json.encode(name[:64]).decode("ascii", "replace") if not name.isascii() else name[:64]
