"""What does a form with files hold (multipart/form-data), and how is it written?

Only what RFC 7578 needs: parts with a name, and perhaps a file name and a type.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from relayd.errors import RequestError

MOST_PARTS = 32
_LONGEST_HEAD = 4096
_BOUNDARY = re.compile(
    r"multipart/form-data\s*;(?:.*;)?\s*boundary=(?:\"([^\"\r\n]{1,70})\"|([^\s;\"]{1,70}))", re.IGNORECASE
)
_DISPOSITION = re.compile(rb"content-disposition:\s*form-data\s*;(.*)", re.IGNORECASE)
_TYPE = re.compile(rb"content-type:\s*([\x21-\x7e][\x20-\x7e]{0,100})", re.IGNORECASE)
_PARAMETER = re.compile(rb';?\s*(name|filename)="((?:[^"\\\r\n]|\\.){0,255})"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FormPart:
    """One part of a form.

    Attributes:
        name: Of the field.
        value: What it holds.
        file: The name of the file that it came from; empty for a plain field.
        media_type: Of a file.
    """

    name: str
    value: bytes
    file: str = ""
    media_type: str = ""

    @property
    def text(self) -> str:
        """What a plain field holds.

        Raises:
            RequestError: It is not UTF-8.
        """
        try:
            return self.value.decode()
        except UnicodeDecodeError as error:
            raise RequestError(f"The field {self.name} is not UTF-8.", param=self.name) from error


def boundary_of(content_type: str) -> bytes:
    """Return what stands between the parts of a form.

    Raises:
        RequestError: The type is not that of a form.
    """
    found = _BOUNDARY.match(content_type)
    if found is None:
        raise RequestError(
            "The body is not a form with a boundary.",
            remedy="Send it as multipart/form-data, like curl -F.",
        )
    return (found[1] or found[2]).encode("latin-1")


def read_form(body: bytes, boundary: bytes) -> list[FormPart]:
    """Return the parts of a form.

    Raises:
        RequestError: It is not one, or has too many parts.
    """
    first, *pieces = (b"\r\n" + body).split(b"\r\n--" + boundary, MOST_PARTS + 1)
    if first.strip() or not pieces or not pieces[-1].startswith(b"--"):
        raise RequestError(f"The form is incomplete, or has more than {MOST_PARTS} parts.")
    return [_part(piece) for piece in pieces[:-1]]


def _part(piece: bytes) -> FormPart:
    head, end, value = piece.partition(b"\r\n\r\n")
    if not end or len(head) > _LONGEST_HEAD or not head.startswith(b"\r\n"):
        raise RequestError("A part of the form has no head.")
    fields: dict[str, str] = {}
    media_type = ""
    for line in head.split(b"\r\n"):
        if found := _DISPOSITION.fullmatch(line):
            fields = {
                name.decode().lower(): text.decode("utf-8", "replace")
                for name, text in _PARAMETER.findall(found[1])
            }
        elif found := _TYPE.fullmatch(line):
            media_type = found[1].decode()
    if not fields.get("name"):
        raise RequestError("A part of the form has no name.")
    return FormPart(fields["name"], value, fields.get("filename", ""), media_type)


def write_form(parts: Iterable[FormPart], boundary: bytes) -> bytes:
    """Return a form; names are quoted, so that no value can add a line to a head.

    Raises:
        RequestError: A value holds the boundary.
    """
    written = []
    for part in parts:
        if boundary in part.value:
            raise RequestError("A part of the form holds the boundary.")
        head = b'Content-Disposition: form-data; name="%b"' % _quoted(part.name)
        if part.file:
            head += b'; filename="%b"' % _quoted(part.file)
        if part.media_type:
            head += b"\r\nContent-Type: %b" % part.media_type.encode()
        written.append(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, head, part.value))
    return b"".join(written) + b"--%b--\r\n" % boundary


def _quoted(name: str) -> bytes:
    return re.sub(r'[\r\n"\\\0]', "_", name).encode()
