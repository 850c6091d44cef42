"""What a request does to the one that goes upstream, seen where it is told to Kong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from request_callout.engine.kong import Call, Kong, ProtocolName
from request_callout.telemetry.masking import Mask

_HEADERS = {
    "kong.service.request.set_header": "set header",
    "kong.service.request.add_header": "add header",
    "kong.service.request.set_headers": "set header",
    "kong.service.request.clear_header": "clear header",
    "kong.response.set_header": "set response header",
    "kong.response.add_header": "add response header",
    "kong.response.set_headers": "set response header",
    "kong.response.clear_header": "clear response header",
}
_TEXTS = {
    "kong.service.request.set_scheme": "set scheme",
    "kong.service.request.set_path": "set path",
    "kong.service.request.set_method": "set method",
    "kong.service.set_upstream": "set upstream",
    "kong.response.set_status": "set response status",
}
_OTHERS = frozenset(
    {
        "kong.service.set_target",
        "kong.service.request.set_raw_query",
        "kong.service.request.set_query",
        "kong.service.request.set_raw_body",
    }
)


class WatchedKong:
    """A ``Kong`` that keeps, beside doing it, what is changed on the proxied request."""

    def __init__(self, kong: Kong) -> None:
        self.kong = kong
        self.edits: list[Call] = []

    @property
    def protocol(self) -> ProtocolName:
        """Which protocol the event came on."""
        return self.kong.protocol

    def read(self, calls: Sequence[Call]) -> list[Any]:
        """See ``Kong.read``."""
        results = self.kong.read(calls)
        for method, args in calls:
            self._note(method, args)
        return results

    def write(self, method: str, *args: Any) -> None:
        """See ``Kong.write``."""
        self.kong.write(method, *args)
        self._note(method, args)

    def ask(self, call: Call, told: Callable[[Any], None]) -> None:
        """See ``Kong.ask``."""
        self.kong.ask(call, told)

    def exit(self, status: int, body: bytes | None, headers: Mapping[str, str | list[str]]) -> None:
        """See ``Kong.exit``."""
        self.kong.exit(status, body, headers)

    def _note(self, method: str, args: tuple[Any, ...]) -> None:
        if method in _HEADERS or method in _TEXTS or method in _OTHERS:
            self.edits.append((method, args))


def shown_edits(edits: Sequence[Call], mask: Mask) -> Iterator[dict[str, Any]]:
    """The edits for people: ``what`` was done, to which ``name``, and the ``value`` or ``body``."""
    for method, args in edits:
        if method in _HEADERS:
            yield from _headers(_HEADERS[method], args, mask)
        elif method in _TEXTS:
            yield {"what": _TEXTS[method], "value": mask.text(str(args[0] if args else ""))}
        elif method == "kong.service.set_target":
            yield {"what": "set target", "value": mask.text(":".join(map(str, args)))}
        elif method == "kong.service.request.set_raw_query":
            yield {"what": "set query", "value": mask.query(str(args[0] if args else ""))}
        elif method == "kong.service.request.set_query":
            names = args[0] if args and isinstance(args[0], dict) else {}
            yield {"what": "set query", "value": mask.query("&".join(f"{name}=" for name in names))}
        else:
            data = args[0] if args else b""
            yield {"what": "set body", "body": mask.body(data if isinstance(data, bytes) else str(data).encode())}


def _headers(what: str, args: tuple[Any, ...], mask: Mask) -> Iterator[dict[str, Any]]:
    if args and isinstance(args[0], dict):
        lines: list[tuple[str, Any]] = list(args[0].items())
    else:
        lines = [(str(args[0]) if args else "", args[1] if len(args) > 1 else None)]
    for name, value in lines:
        edit = {"what": what, "name": mask.known(name)}
        if value is None:
            yield edit
        for one in value if isinstance(value, list) else () if value is None else (value,):
            yield {**edit, "value": mask.header(name, str(one))}
