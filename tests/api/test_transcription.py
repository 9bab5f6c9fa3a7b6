"""Does a form with audio reach a model that takes it, and no other?"""

from dataclasses import replace

import pytest

from relayd.api.transcription import transcription_routes
from relayd.dialects.multipart import FormPart, read_form, write_form
from tests.api.conftest import Doors, view
from tests.api.stage import Stage
from tests.fakes.replica import act, json_answer

pytestmark = pytest.mark.system

WHISPER = replace(view("voxtral"), abilities=("completion", "audio"))
FILE = FormPart("file", b"RIFF\0\xff", "a.wav", "audio/wav")


def _post(*parts: FormPart, origin: str = "") -> bytes:
    body = write_form(parts, b"bound")
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n{origin}"
    head += f"Content-Type: multipart/form-data; boundary=bound\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _stage() -> Stage:
    return Stage(routes=transcription_routes, script=act(json_answer(b'{"text":"Hi"}')))


def test_a_file_reaches_a_model_that_takes_audio(doors: Doors) -> None:
    here = _stage()

    answer = here.ask(
        doors, _post(FormPart("model", b"voxtral"), FormPart("x", b"1"), FILE), (view(), WHISPER)
    )

    head, _, body = here.requests[-1].partition(b"\r\n\r\n")
    boundary = head.partition(b"boundary=")[2].split(b"\r\n")[0]
    assert (200, b'{"text":"Hi"}') == (answer.status, answer.body)
    assert [FILE] == read_form(body, boundary)
    assert "/v1/audio/transcriptions" == here.sent_to
    assert "left out: x" == answer.headers["x-relayd-changed"]
    assert here.gave_back


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ((FormPart("model", b"qwen"), FILE), 400),
        ((FormPart("model", b"nothing"), FILE), 404),
        ((FormPart("model", b"voxtral"),), 400),
        ((FormPart("model", b"voxtral"), FILE, FILE), 400),
        ((FormPart("model", b"voxtral"), FILE, FormPart("prompt", b"x" * 5000)), 400),
        ((FormPart("model", b"\xff"), FILE), 400),
    ],
)
def test_what_cannot_be_transcribed_takes_no_slot(
    doors: Doors, parts: tuple[FormPart, ...], status: int
) -> None:
    here = _stage()

    assert status == here.ask(doors, _post(*parts), (view(), WHISPER)).status
    assert [] == here.arrived


def test_a_page_cannot_send_a_form(doors: Doors) -> None:
    answer = _stage().ask(doors, _post(FILE, origin="Origin: http://app.example\r\n"), (WHISPER,))

    assert 415 == answer.status
