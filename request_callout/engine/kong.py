"""The engine's view of Kong: gathered reads, queued writes, one answer.

Values are in one normal form on every protocol, given by ``request_callout.pdk``:

- headers and query (``kong.request.get_headers``/``get_query``): ``dict[str, str | True | list[str | True]]``, header
  names in lower case, a list where a name is repeated, True for a query parameter without a value;
- ``kong.request.get_uri_captures``: ``{"unnamed": [str, ...], "named": {name: str}}`` (groups only, without the whole);
- ``kong.request.get_raw_body``: ``bytes`` (BodyFileError if Kong gives a file that cannot be read here);
- an absent header, argument, consumer, credential or context key: None; routes, services, consumers: dicts;
- all other text: ``str`` by ``request_callout.values``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

Call: TypeAlias = tuple[str, tuple[Any, ...]]
"""A PDK call: its full name (``kong.request.get_header``) and its arguments in the order of the Lua PDK."""

ProtocolName = Literal["ProtoBuf", "MsgPack"]


class ConnectionLost(Exception):
    """Kong is gone or closed the connection: nothing more can be said to it."""


class UnsupportedMethod(Exception):
    """The PDK function does not exist on the protocol in use; ``other`` names the protocol that has it, if one does."""

    def __init__(self, method: str, protocol: ProtocolName, other: ProtocolName | None) -> None:
        remedy = f"; it is available on {other}" if other else ""
        super().__init__(f"{method} is not available on the {protocol} protocol{remedy}")
        self.method = method
        self.protocol = protocol
        self.other = other


class BodyFileError(Exception):
    """The client's body is in a file that cannot be read here."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the client's body is in {path}, which cannot be read here: raise nginx_http_client_body_buffer_size "
            "in kong.conf above the largest body, or let the plugin server read that file"
        )
        self.path = path


class Kong(Protocol):
    """One event of Kong, on whatever protocol. Safe to use from several greenlets: calls go out in one queue."""

    @property
    def protocol(self) -> ProtocolName:
        """Which protocol the event came on."""

    def read(self, calls: Sequence[Call]) -> list[Any]:
        """Send the queued writes and these calls together and wait for the results, in order.

        Raises UnsupportedMethod before anything is sent, BodyFileError, ConnectionLost.
        """

    def write(self, method: str, *args: Any) -> None:
        """Queue a call whose result nobody needs; it goes out with the next read or at the end of the event."""

    def ask(self, call: Call, told: Callable[[Any], None]) -> None:
        """Queue a call whose result is not waited for; ``told`` gets it by the end of the event, or else None."""

    def exit(self, status: int, body: bytes | None, headers: Mapping[str, str | list[str]]) -> None:
        """Queue the answer to the client (``kong.response.exit``): the last thing of the event.

        What is queued afterwards is dropped.
        """


class NoKong:
    """The event is over: what is written is lost, and nothing can be read."""

    def __init__(self, protocol: ProtocolName) -> None:
        self.protocol = protocol

    def read(self, calls: Sequence[Call]) -> list[Any]:
        """Raise ConnectionLost."""
        raise ConnectionLost("the event is over")

    def write(self, method: str, *args: Any) -> None:
        """Forget it."""

    def ask(self, call: Call, told: Callable[[Any], None]) -> None:
        """There is no result."""
        told(None)

    def exit(self, status: int, body: bytes | None, headers: Mapping[str, str | list[str]]) -> None:
        """Forget it."""
