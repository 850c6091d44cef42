"""The body of ``kong.response.error``: Kong's message in the media type that the client prefers."""

from __future__ import annotations

from http import HTTPStatus
from xml.sax.saxutils import escape

from request_callout.engine import json
from request_callout.engine.answer import JSON_TYPE, Answer

_UNEXPECTED = "An unexpected error occurred"


def error_answer(
    status: int, message: str | None, accept: str | None, request_id: str | None, headers: dict[str, str | list[str]]
) -> Answer:
    """The answer with a message (by default the status's own) and Kong's request id, as JSON unless asked otherwise."""
    said = message if message is not None else _default_message(status)
    identifier = request_id or ""
    kind = _preferred(accept)
    if kind == "text/plain":
        body, content_type = f"{said}\nrequest_id: {identifier}\n", "text/plain; charset=utf-8"
    elif kind == "text/html":
        body = (
            "<html>\n  <head>\n    <title>Error</title>\n  </head>\n  <body>\n    <h1>Error</h1>\n"
            f"    <p>{escape(said)}.</p>\n    <p>request_id: {escape(identifier)}</p>\n  </body>\n</html>\n"
        )
        content_type = "text/html; charset=utf-8"
    elif kind == "application/xml":
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<error>\n'
            f"  <message>{escape(said)}</message>\n  <requestid>{escape(identifier)}</requestid>\n</error>\n"
        )
        content_type = "application/xml; charset=utf-8"
    else:
        document = json.encode({"message": said, "request_id": identifier})
        return Answer(status, document, {"Content-Type": JSON_TYPE, **headers})
    return Answer(status, body.encode(), {"Content-Type": content_type, **headers})


def _default_message(status: int) -> str:
    try:
        return _UNEXPECTED if status == 500 else HTTPStatus(status).phrase
    except ValueError:
        return _UNEXPECTED


def _preferred(accept: str | None) -> str:
    known = {"text/html", "text/plain", "application/json", "application/xml"}
    best, best_quality = "application/json", 0.0
    for piece in (accept or "").split(","):
        kind, _, parameters = piece.partition(";")
        quality = 1.0
        name, _, value = parameters.strip().partition("=")
        if name == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
        if kind.strip().lower() in known and quality > best_quality:
            best, best_quality = kind.strip().lower(), quality
    return best
