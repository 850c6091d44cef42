"""Reading ``multipart/form-data`` (RFC 7578) for ``kong.request.get_body``."""

from __future__ import annotations

from email import policy
from email.parser import BytesParser

from request_callout.values import Value, raw, text


def decode_multipart(body: bytes, content_type: str) -> dict[str, Value] | None:
    """Fields by name, a repeated one as a list; None if the body is none."""
    message = BytesParser(policy=policy.HTTP).parsebytes(b"Content-Type: " + raw(content_type) + b"\r\n\r\n" + body)
    if not message.is_multipart():
        return None
    fields: dict[str, Value] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            continue
        payload = part.get_payload(decode=True)
        value = text(payload) if isinstance(payload, bytes) else ""
        there = fields.get(name)
        if there is None:
            fields[name] = value
        elif isinstance(there, list):
            there.append(value)
        else:
            fields[name] = [there, value]
    return fields
