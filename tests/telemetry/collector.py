"""A collector of OpenTelemetry's: it takes spans over HTTP, as any does, and keeps them and every byte it got."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.conformance.callee import PATIENCE_S

INTERNAL, CLIENT = trace_pb2.Span.SPAN_KIND_INTERNAL, trace_pb2.Span.SPAN_KIND_CLIENT
OK, FAILED = trace_pb2.Status.STATUS_CODE_UNSET, trace_pb2.Status.STATUS_CODE_ERROR


@dataclass(frozen=True)
class Span:
    """One span as it arrived, ids in hex; ``events`` and ``links`` are names with attributes, and ids."""

    trace: str
    id: str
    parent: str
    name: str
    kind: int
    status: int
    message: str
    began_ns: int
    ended_ns: int
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, str]]
    resource: dict[str, Any]
    state: str

    @property
    def callout(self) -> object:
        return self.attributes.get("request_callout.callout")


class Collector:
    """Listens on a free port of the loopback interface; ``hold`` is called before each answer."""

    def __init__(self, hold: Callable[[], object] = lambda: None) -> None:
        self.bytes = b""
        self.headers: list[dict[str, str]] = []
        self._spans: list[Span] = []
        self._changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector._take(self.path, dict(self.headers.items()), body)
                hold()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                """An exporter that is killed is part of what is tested."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def spans(self, name: str | None = None) -> list[Span]:
        """What has arrived, of one name or all."""
        with self._changed:
            return [span for span in self._spans if name in (None, span.name)]

    def wait_for(self, there: Callable[[list[Span]], bool]) -> list[Span]:
        """All spans, as soon as they are as wanted."""
        deadline = time.monotonic() + PATIENCE_S
        with self._changed:
            while not there(self._spans):
                assert self._changed.wait(deadline - time.monotonic()), [span.name for span in self._spans]
            return list(self._spans)

    def asked(self, times: int) -> None:
        """Wait until this many requests have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.headers) >= times, PATIENCE_S)

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        assert path.startswith("/v1/traces"), path
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            self.headers.append(headers)
            self.bytes += body
            self._spans += _spans_of(request)
            self._changed.notify_all()


def _spans_of(request: ExportTraceServiceRequest) -> list[Span]:
    return [
        Span(
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            name=span.name,
            kind=span.kind,
            status=span.status.code,
            message=span.status.message,
            began_ns=span.start_time_unix_nano,
            ended_ns=span.end_time_unix_nano,
            attributes=_values(span.attributes),
            events=[(event.name, _values(event.attributes)) for event in span.events],
            links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            resource=_values(of_resource.resource.attributes),
            state=span.trace_state,
        )
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs if isinstance(pair, KeyValue)}


def _value(value: AnyValue) -> Any:
    return getattr(value, str(value.WhichOneof("value")))
