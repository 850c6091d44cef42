"""Reading and writing ``multipart/form-data`` (RFC 7578).

Anybody may send it: it is read in a time that only its length decides. The standard library's parser of mail is not for
this: it takes minutes for a megabyte that is made for it.
"""

from __future__ import annotations

import binascii
import contextlib
import re
from collections.abc import Callable, Iterable
from hashlib import sha256

from request_callout.values import Value, raw, text

MULTIPART_TYPE = "multipart/form-data"
MAX_PARTS = 100_000
_LONGEST_HEAD = 8192
_PARAMETER = re.compile(rb'[ \t\r\n]*([^\s=;"]{1,100})=(?:"((?:[^"\\]|\\.)*)"|([^;"]*))[^;]*(?:;|\Z)', re.DOTALL)
_HEADER = re.compile(
    rb"(?:^|\n)(content-disposition|content-transfer-encoding):([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE
)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_ESCAPED = re.compile(rb'\\([\\"])')
_DECODERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"base64": binascii.a2b_base64,
    b"quoted-printable": binascii.a2b_qp,
}


def encode_multipart(fields: Iterable[tuple[str, str]]) -> tuple[bytes, str]:
    """Fields, each a text, and the ``Content-Type`` that they need.

    Nobody can choose a value in which the boundary stands: it is a digest of all values. Equal fields have an equal
    one, so that a callout keeps its place in the cache.
    """
    parts = [
        b'Content-Disposition: form-data; name="' + raw(_quoted(name)) + b'"\r\n\r\n' + raw(value)
        for name, value in fields
    ]
    digest = sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()
    boundary = f"----{digest[:40]}"
    mark = b"--" + boundary.encode()
    lines = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts)
    return lines + mark + b"--\r\n", f"{MULTIPART_TYPE}; boundary={boundary}"


def decode_multipart(body: bytes, content_type: str) -> dict[str, Value] | None:
    """Fields by name, a repeated one as a list; None if the body is none, or one of more than ``MAX_PARTS`` parts.

    A part without a name, or with a head of more than 8 KiB, is no field.
    """
    boundary = _parameters(raw(content_type)).get(b"boundary")
    if not boundary:
        return None
    fields: dict[str, Value] = {}
    start: int | None = None
    parts = 0
    for found in re.finditer(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)", body):
        if start is not None:
            _add(fields, body[start : found.start()])
        start = None if found[1] else found.end()
        parts += 1
        if found[1]:
            break
        if parts > MAX_PARTS:
            return None
    if start is not None:  # the last delimiter is missing
        _add(fields, body[start:])
    return fields if parts else None


def _add(fields: dict[str, Value], part: bytes) -> None:
    """Put in the field that a part is; it begins with the end of the delimiter's line."""
    blank = _BLANK_LINE.search(part, 0, _LONGEST_HEAD)
    if blank is None:
        return
    headers = {name.lower(): value for name, value in _HEADER.findall(part[: blank.start()])}
    name = _parameters(headers.get(b"content-disposition", b"")).get(b"name")
    if name is None:
        return
    decoder = _DECODERS.get(headers.get(b"content-transfer-encoding", b"").strip().lower())
    content = part[blank.end() :]
    if decoder is not None:
        with contextlib.suppress(ValueError):
            content = decoder(content)
    value, key = text(content), text(name)
    there = fields.get(key)
    if there is None:
        fields[key] = value
    elif isinstance(there, list):
        there.append(value)
    else:
        fields[key] = [there, value]


def _parameters(value: bytes) -> dict[bytes, bytes]:
    """The parameters of a header's value, after its first ``;``: of equal names the first."""
    found: dict[bytes, bytes] = {}
    at = value.find(b";") + 1
    while at and (parameter := _PARAMETER.match(value, at)) is not None:
        name, quoted, plain = parameter.groups()
        found.setdefault(name.lower(), plain.strip() if quoted is None else _ESCAPED.sub(rb"\1", quoted))
        at = parameter.end()
    return found


def _quoted(name: str) -> str:
    """A field's name as browsers write it (HTML Standard, multipart/form-data encoding)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
