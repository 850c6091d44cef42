"""Answers that the plugin gives to the client itself, and the exceptions that end a proxied request with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from request_callout.engine import json

if TYPE_CHECKING:
    from request_callout.engine.context import CalloutResponse

JSON_TYPE = "application/json; charset=utf-8"
TEXT_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to the client instead of the upstream's."""

    status: int
    body: bytes | None = None
    headers: Mapping[str, str | list[str]] = field(default_factory=dict)


def message_answer(status: int, message: str) -> Answer:
    """An answer in Kong's own form: ``{"message": ...}``."""
    return Answer(status, json.encode({"message": message}), {"Content-Type": JSON_TYPE})


INTERNAL_ERROR = message_answer(500, "Internal Server Error")


def text_answer(status: int, text: bytes) -> Answer:
    """An answer whose whole body was configured: JSON's content type if it is a JSON object, else plain text."""
    content_type = TEXT_TYPE
    if text.lstrip()[:1] == b"{":
        try:
            json.decode(text)
            content_type = JSON_TYPE
        except json.NotJsonError:
            pass
    return Answer(status, text, {"Content-Type": content_type})


class Ended(Exception):
    """The client gets this answer and nothing more is done for the request.

    ``reason`` is for the log (None: nothing to tell, a script answered on purpose).
    """

    def __init__(self, answer: Answer, reason: str | None = None) -> None:
        super().__init__(reason or f"answered with {answer.status}")
        self.answer = answer
        self.reason = reason


class ScriptExit(Ended):
    """A script called ``kong.response.exit``: the callouts in flight end, and the client gets its answer."""


class CalloutError(Exception):
    """One attempt that counts as an error by the callout's policy.

    ``reason`` is ``error`` (no response, or one that can't be used), ``code`` (a status in ``http_statuses``) or
    ``circuit_open`` (no attempt was made), ``http_code`` and ``response`` what came back, if anything did. Before the
    moment ``not_before`` (of ``time.monotonic()``) there is no use in a retry.
    """

    def __init__(
        self, reason: str, message: str, http_code: int | None = None, response: CalloutResponse | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.http_code = http_code
        self.response = response
        self.not_before = 0.0
