"""The plugin server's side of ``try``: an engine that tells what happens, and may answer from a recording.

Both sides share a private folder: ``exchanges`` and ``requests`` are written here, a JSON document a line; ``replay``
is the recording.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from request_callout.config.settings import Settings
from request_callout.engine import Engine
from request_callout.engine.observing import Observer
from request_callout.telemetry.timeline import Timelines
from request_callout.transport import Sender, Transport
from request_callout.transport.exchanges import from_entry, to_entry
from request_callout.transport.recorded import Recording, Replaying

EXCHANGES = "exchanges"
REQUESTS = "requests"
REPLAY = "replay"


def tried_engine(settings: Settings, folder: str, observers: Sequence[Observer]) -> Engine:
    """An engine for one folder."""
    exchanges, requests, replay = Lines(Path(folder, EXCHANGES)), Lines(Path(folder, REQUESTS)), Path(folder, REPLAY)
    sender: Sender
    if replay.exists():
        recorded = [from_entry(entry) for entry in orjson.loads(replay.read_bytes())]
        sender = Replaying(recorded, lambda exchange: exchanges.add(to_entry(exchange)))
    else:
        sender = Recording(Transport(settings.transport), lambda exchange: exchanges.add(to_entry(exchange)))
    return Engine(settings, observers=[*observers, Timelines(requests.add)], transport=sender)


class Lines:
    """A file with a JSON document a line, for the owner's eyes only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, document: dict[str, Any]) -> None:
        """Write one more document."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
        finally:
            os.close(descriptor)

    def read(self) -> list[dict[str, Any]]:
        """All documents so far."""
        if not self._path.exists():
            return []
        return [orjson.loads(line) for line in self._path.read_bytes().splitlines()]
