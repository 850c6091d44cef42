"""``request-callout health``: whether a plugin server answers, for the probes of containers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import click

from request_callout.cli.seconds import Seconds
from request_callout.pdk.protobuf import (
    FrameDecoder,
    FrameError,
    GetPluginNames,
    PluginNames,
    decode_return,
    encode_call,
    frame,
)

_PLUGIN = "request-callout"


class Unhealthy(Exception):
    """The server does not answer as it should."""


class NotAllowed(Unhealthy):
    """It can't be asked by this user, and may be well."""


@click.command()
@click.option(
    "--socket",
    "path",
    type=click.Path(readable=False),
    required=True,
    envvar="REQUEST_CALLOUT_SOCKET",
    show_envvar=True,
    help="The unix socket that the server listens on.",
)
@click.option(
    "--protocol",
    type=click.Choice(["protobuf", "msgpack"]),
    default="protobuf",
    show_default=True,
    envvar="REQUEST_CALLOUT_PROTOCOL",
    show_envvar=True,
    help="The protocol that the server was started with.",
)
@click.option(
    "--timeout-s",
    "--timeout",
    "timeout_s",
    type=Seconds(above_0=True),
    default=2.0,
    show_default=True,
    envvar="REQUEST_CALLOUT_TIMEOUT_S",
    show_envvar=True,
    help="How many seconds the answer may take.",
)
def health(path: str, protocol: str, timeout_s: float) -> None:
    """Ask the server for its plugin, as Kong may; status 0 if it answers, else 1 and the reason in one line."""
    before = time.monotonic()
    try:
        ask(path, protocol, timeout_s)
    except Unhealthy as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"ok: {_PLUGIN} answered on {path} in {(time.monotonic() - before) * 1000:.1f} ms")


def ask(path: str, protocol: str, timeout_s: float) -> None:
    """Ask the server on a socket for its plugin; raises Unhealthy, which says why it did not answer as it should."""
    asking = _ask_msgpack if protocol == "msgpack" else _ask_protobuf
    before = time.monotonic()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_s)
            sock.connect(path)
            asking(sock, _reader(sock, before + timeout_s))
    except TimeoutError:
        raise Unhealthy(f"no answer on {path} within {timeout_s:g} s") from None
    except PermissionError:
        raise NotAllowed(f"this user may not connect to {path}; ask as the user that Kong runs as") from None
    except OSError as error:
        raise Unhealthy(f"nobody answers on {path}: {error.strerror or error}") from None
    except Unhealthy as error:
        raise Unhealthy(f"{path}: {error}") from None


def _reader(sock: socket.socket, deadline: float) -> Callable[[], bytes]:
    """Reads from the socket until the deadline, whatever the pieces that come."""

    def read() -> bytes:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        sock.settimeout(left_s)
        data = sock.recv(65536)
        if not data:
            raise Unhealthy("the server closed the connection; was it started with another --protocol?")
        return data

    return read


def _ask_protobuf(sock: socket.socket, read: Callable[[], bytes]) -> None:
    sock.sendall(frame(encode_call(GetPluginNames(1))))
    decoder = FrameDecoder()
    try:
        while (found := decoder.next_frame()) is None:
            decoder.feed(read())
        answer = decode_return(found)
    except FrameError as error:
        raise Unhealthy(f"the answer is not of the protocol ProtoBuf:1: {error}") from None
    if answer != PluginNames(1, (_PLUGIN,)):
        raise Unhealthy(f"the server has not the plugin {_PLUGIN}")


def _ask_msgpack(sock: socket.socket, read: Callable[[], bytes]) -> None:
    import msgpack

    # This protocol has no question for the names. No instance has the id 0, so nothing is closed.
    sock.sendall(msgpack.packb([0, 1, "plugin.CloseInstance", [0]]))
    unpacker = msgpack.Unpacker(strict_map_key=False)
    try:
        while (answer := next(iter(unpacker), None)) is None:
            unpacker.feed(read())
        kind, number, error, result = answer
        healthy = (kind, number, error) == (1, 1, None) and result["Name"] == _PLUGIN
    except (ValueError, TypeError, KeyError) as error:
        raise Unhealthy("the answer is not of the protocol MsgPack:1") from error
    if not healthy:
        raise Unhealthy(f"the server has not the plugin {_PLUGIN}")
