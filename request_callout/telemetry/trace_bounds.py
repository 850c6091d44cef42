"""Cutting the record of a trace to what fits into a datagram: bodies first, then everything that is long."""

from __future__ import annotations

import json
from typing import Any

MAX_RECORD_BYTES = 60 * 1024
_ROOMS = ((4096, 1024, 100, 60), (1024, 512, 50, 40), (256, 256, 30, 25), (0, 100, 10, 12), (0, 40, 0, 5))
"""To what things are cut, until the record fits: characters of a body, of other texts; members of a list; callouts."""


def bounded(record: dict[str, Any]) -> bytes:
    """A record as JSON, everything in it cut until it fits; ``cut`` says that something is missing."""
    for body, text, members, callouts in _ROOMS:
        room = _Room(body, text, members)
        fitting = {**record, "callouts": record["callouts"][:callouts]}
        shown = room.cut(fitting)
        if room.has_cut or len(record["callouts"]) > callouts:
            shown["cut"] = True
        data = json.dumps(shown, separators=(",", ":")).encode()
        if len(data) <= MAX_RECORD_BYTES:
            return data
    rest: dict[str, Any] = {"callouts": [], "plan": [], "upstream": [], "request": {}, "answer": None}
    return json.dumps({**shown, **rest}, separators=(",", ":")).encode()


class _Room:
    """Cuts to a size what is too long."""

    def __init__(self, body: int, text: int, members: int) -> None:
        self._body = body
        self._text = text
        self._members = members
        self.has_cut = False

    def cut(self, value: Any) -> Any:
        if isinstance(value, dict):
            if "bytes" in value and isinstance(value.get("text"), str) and len(value["text"]) > self._body:
                self.has_cut = True
                return {**value, "text": value["text"][: self._body], "cut": True}
            return {name: one if name == "text" else self.cut(one) for name, one in value.items()}
        if isinstance(value, str) and len(value) > self._text:
            self.has_cut = True
            return f"{value[: self._text]}…"
        if isinstance(value, list):
            kept = value[: self._members] if value and isinstance(value[0], list) else value
            self.has_cut = self.has_cut or len(kept) < len(value)
            return [self.cut(one) for one in kept]
        return value
