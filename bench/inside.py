"""Our own code alone: CPU of one event in this process, without Kong's socket and without the HTTP client.

``python -m bench.inside CASE`` prints ``{"cpu_us": ...}``; CASE is a function of ``cases``.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

from bench import cases
from bench.service import TOKEN
from request_callout.config.settings import Settings
from request_callout.engine import Engine
from request_callout.pdk.over_protobuf import ProtobufKong
from request_callout.pdk.protobuf import HandleEvent, decode_call, encode_call
from request_callout.transport import IncomingResponse, OutgoingRequest

_HEADERS = [("content-type", "application/json"), ("server", "bench"), ("content-length", str(len(TOKEN)))]


class _Nowhere:
    """A connection to a Kong that has nothing to say."""

    owed = 0

    def exchange(self, data: bytes, replies: int) -> list[bytes]:
        return [b""] * replies

    def wait_for_end(self) -> None:
        """End at once."""


class _Answered:
    """A transport that has the response already."""

    def send(self, request: OutgoingRequest) -> IncomingResponse:
        return IncomingResponse(200, list(_HEADERS), TOKEN)

    def close(self) -> None:
        """There is nothing to close."""


def main(case: str) -> None:
    """Measure and print."""
    engine = Engine(Settings())
    engine.transport = _Answered()
    instance = engine.instance(getattr(cases, case)("http://127.0.0.1:8080"))
    command = encode_call(HandleEvent(2, 12345678, "access"))
    connection = _Nowhere()

    def event() -> None:
        kong = ProtobufKong(connection, decode_call(command).sequence)
        instance.access(kong)
        kong.finish()

    for _ in range(500):
        event()
    found = []
    for _ in range(5):
        started = time.process_time()
        for _ in range(1000):
            event()
        found.append((time.process_time() - started) * 1000)
    print(json.dumps({"cpu_us": statistics.median(found)}))


if __name__ == "__main__":
    main(sys.argv[1])
