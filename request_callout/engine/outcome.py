"""What becomes of a callout's response or error in its context, whichever layer met it."""

from __future__ import annotations

import contextlib

from request_callout.engine.answer import CalloutError
from request_callout.engine.bodies.response import UndecodableBody, decode_body
from request_callout.engine.call import Call
from request_callout.engine.context import CalloutResponse


def keep_outcome(call: Call, response: CalloutResponse | None) -> None:
    """Put what there was of a response into the callout's context."""
    record = call.record
    if response is not None:
        call.status = response.status
        record.response = response.table()
        record.response_bytes = len(response.raw_body)
    call.run.context.show_outcome(call.name, record)


def after_error(call: Call, error: CalloutError) -> CalloutResponse | None:
    """Note the last error in the context; gives what there was of a response, decoded if wanted and possible."""
    call.record.error = error_table(error)
    call.failure = error.message
    if error.response is not None:
        decode_if_possible(call, error.response)
    return error.response


def decode_if_possible(call: Call, response: CalloutResponse) -> None:
    """Decode a body of which nobody has promised that it can be, if the callout's bodies are to be decoded."""
    body_format = call.callout.decodes_as
    if body_format is not None and not response.decoded:
        with contextlib.suppress(UndecodableBody):
            response.body = decode_body(response.raw_body, body_format, response.headers)


def error_table(error: CalloutError) -> dict[str, object]:
    """An error as the context shows it: ``request.error`` and the entries of ``request.retries``."""
    table: dict[str, object] = {"reason": error.reason, "err": error.message}
    if error.http_code is not None:
        table["http_code"] = error.http_code
    return table
