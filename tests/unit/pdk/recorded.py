"""The recordings of a running Kong: the bytes of each direction, and the calls and replies that they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from request_callout.pdk.protobuf import FrameDecoder

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"


def lines(name: str) -> list[dict[str, Any]]:
    """The records of one recording."""
    with (TRANSCRIPTS / name).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def stream(name: str, connection: int, direction: str) -> bytes:
    """All bytes that one side sent over one connection."""
    records = lines(name)
    return b"".join(bytes.fromhex(r["hex"]) for r in records if r["conn"] == connection and r["dir"] == direction)


def frames(connection: int, direction: str) -> list[bytes]:
    """The frames that one side sent over one connection of the ProtoBuf recording."""
    decoder = FrameDecoder()
    decoder.feed(stream("protobuf.raw.jsonl", connection, direction))
    found = []
    while (frame := decoder.next_frame()) is not None:
        found.append(frame)
    assert decoder.pending_bytes == 0
    return found
