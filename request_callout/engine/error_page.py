"""Kong's error answers: a message and the request id, in the format that the client accepts.

After ``kong/tools/http.lua``, ``kong/pdk/response.lua`` and ``kong/error_handlers.lua`` of Kong 3.9. Kong puts messages
in as they are; ``error_answer`` writes them so that they stay text, since a script may put a client's value in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape

from request_callout.engine import json
from request_callout.engine.answer import JSON_TYPE, Answer

_HTML = "text/html; charset=utf-8"
_XML = "application/xml; charset=utf-8"
_PLAIN = "text/plain; charset=utf-8"

_TYPES = {
    "application/json": JSON_TYPE,
    "application/xml": _XML,
    "application/*": JSON_TYPE,
    "text/html": _HTML,
    "text/plain": _PLAIN,
    "text/*": _PLAIN,
    "*/*": JSON_TYPE,
}

_TEMPLATES = {
    JSON_TYPE: '{{\n  "message":"{message}",\n  "request_id":"{request_id}"\n}}',
    _PLAIN: "{message}\nrequest_id: {request_id}\n",
    _HTML: (
        '<!doctype html>\n<html>\n  <head>\n    <meta charset="utf-8">\n    <title>Error</title>\n  </head>\n'
        "  <body>\n    <h1>Error</h1>\n    <p>{message}.</p>\n    <p>request_id: {request_id}</p>\n  </body>\n</html>\n"
    ),
    _XML: (
        '<?xml version="1.0" encoding="UTF-8"?>\n<error>\n  <message>{message}</message>\n'
        "  <requestid>{request_id}</requestid>\n</error>\n"
    ),
}

MESSAGES = {
    400: "Bad request",
    401: "Unauthorized",
    402: "Payment required",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    407: "Proxy authentication required",
    408: "Request timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length required",
    412: "Precondition failed",
    413: "Payload too large",
    414: "URI too long",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    417: "Expectation failed",
    418: "I'm a teapot",
    421: "Misdirected request",
    422: "Unprocessable entity",
    423: "Locked",
    424: "Failed dependency",
    425: "Too early",
    426: "Upgrade required",
    428: "Precondition required",
    429: "Too many requests",
    431: "Request header fields too large",
    451: "Unavailable for legal reasons",
    494: "Request header or cookie too large",
    500: "An unexpected error occurred",
    501: "Not implemented",
    502: "An invalid response was received from the upstream server",
    503: "The upstream server is currently unavailable",
    504: "The upstream server is timing out",
    505: "HTTP version not supported",
    506: "Variant also negotiates",
    507: "Insufficient storage",
    508: "Loop detected",
    510: "Not extended",
    511: "Network authentication required",
}

_AS_TEXT: Mapping[str, Callable[[str], str]] = {
    JSON_TYPE: lambda said: json.encode(said).decode("utf-8", "surrogateescape")[1:-1],
    _HTML: escape,
    _XML: escape,
}

_QUALITY = re.compile(r"\s*q\s*=\s*(1(?:\.0{0,3})?|0(?:\.\d{0,3})?)\s*\Z", re.I)


def content_type(accept: Sequence[str]) -> str:
    """The format for an Accept header: the one of the highest quality that Kong knows, else JSON."""
    chosen, best = JSON_TYPE, 0.0
    for entry in ",".join(accept).split(","):
        media, *parameters = entry.strip().split(";")
        if "/" not in media:
            continue
        found = next((match for match in map(_QUALITY.match, parameters) if match), None)
        quality = float(found[1]) if found else 1.0
        if quality > best:
            best = quality
            chosen = _TYPES.get(media.strip().lower(), JSON_TYPE)
    return chosen


def body(
    kind: str, status: int, message: str | None, request_id: str, written: Callable[[str], str] | None = None
) -> bytes:
    """The body of an error answer; without a ``message`` it is the one Kong has for the status.

    ``written`` makes of the message what may stand in a body of this kind; without it it stands there as it is.
    """
    said = MESSAGES.get(status, f"The upstream server responded with {status}") if message is None else message
    template = _TEMPLATES.get(kind, "")
    text = template.format(message=said if written is None else written(said), request_id=request_id)
    return text.encode("utf-8", "surrogateescape")


def error_answer(
    status: int, message: str | None, accept: str | None, request_id: str | None, headers: dict[str, str | list[str]]
) -> Answer:
    """What ``kong.response.error`` answers; headers that name a content type choose the format by it."""
    given = next((value for name, value in headers.items() if name.lower() == "content-type"), None)
    if given is None:
        kind = content_type([accept or ""])
        headers = {"Content-Type": kind, **headers}
    else:
        named = given if isinstance(given, str) else next(iter(given), "")
        kind = _TYPES.get(named.partition(";")[0].strip().lower(), _PLAIN)
    return Answer(status, body(kind, status, message, request_id or "", _AS_TEXT.get(kind)), headers)
