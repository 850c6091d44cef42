"""One connection to a Redis server: redis-py's protocol over gevent's sockets, which switch instead of blocking.

The rule of times. Each phase has a limit of its own: the connect timeout for the name look-up, TCP, TLS and the wait
for a place in the pool; the send timeout for writing a command; the read timeout for its whole reply. A command as a
whole, with all that it needs (a new connection, AUTH and SELECT, asking sentinels, redirections of a cluster, a second
try), takes at most as long as the longest of the three: each phase gets what is left of that if it is less. What
takes longer raises ``redis.exceptions.TimeoutError``. A connection whose command was cut, by this or by anything else
that ends a greenlet's wait, is closed: the reply that may still come is for nobody.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import gevent
import hiredis
from gevent import socket as gevent_socket
from gevent import ssl as gevent_ssl
from redis.backoff import NoBackoff
from redis.connection import Connection as RedisPyConnection
from redis.credentials import CredentialProvider
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from request_callout.config import model

_DEFAULT_MS = 2000
_READ_SIZE_BYTES = 32768

Argument = str | bytes | int
_pack: Callable[[tuple[Argument, ...]], bytes] = cast(Any, hiredis.pack_command)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The limits of the phases, in seconds."""

    connect_s: float
    send_s: float
    read_s: float

    @classmethod
    def of(cls, settings: model.Redis) -> Timeouts:
        """Those of the settings; 0 stands for 2 seconds."""
        milliseconds = (settings.connect_timeout_ms, settings.send_timeout_ms, settings.read_timeout_ms)
        return cls(*((limit_ms or _DEFAULT_MS) / 1000 for limit_ms in milliseconds))

    @property
    def total_s(self) -> float:
        """The limit of a command as a whole."""
        return max(self.connect_s, self.send_s, self.read_s)


@dataclass(frozen=True, slots=True)
class Tls:
    """``server_name`` is sent in the handshake and looked for in the certificate; None: the host connected to."""

    context: ssl.SSLContext
    server_name: str | None

    @classmethod
    def of(cls, settings: model.Redis, ca_file: str | None) -> Tls | None:
        """None: without TLS. Raises ``OSError`` if ``ca_file`` (PEM, in place of the system's CAs) can't be used."""
        if not settings.ssl:
            return None
        # gevent's class, whether or not ssl is patched: its sockets are cooperative by themselves.
        context: ssl.SSLContext = gevent_ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not settings.ssl_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif ca_file is not None:
            context.load_verify_locations(ca_file)
        else:
            context.load_default_certs()
        return cls(context, settings.server_name)


@dataclass(frozen=True, slots=True)
class Login:
    """What a new connection does first; ``credentials`` None: no AUTH, ``database`` 0: no SELECT."""

    credentials: CredentialProvider | None
    database: int = 0


@contextmanager
def time_limit(limit_s: float, what: str) -> Iterator[None]:
    """Raise ``redis.exceptions.TimeoutError`` if the block takes longer; other greenlets' timeouts pass through."""
    if limit_s <= 0:
        raise RedisTimeoutError(f"no time left to {what}")
    timer = gevent.Timeout(limit_s)
    timer.start()
    try:
        yield
    except gevent.Timeout as raised:
        if raised is not timer:
            raise
        raise RedisTimeoutError(f"it took too long to {what}") from None
    finally:
        timer.close()


class Connection(RedisPyConnection):
    """redis-py's connection with everything that waits replaced; it never tries anything twice.

    ``idle_since`` (``time.monotonic()``) and ``generation`` belong to the pool it is kept in.
    """

    idle_since = 0.0
    generation = 0
    _sock: Any

    def __init__(self, host: str, port: int, timeouts: Timeouts, tls: Tls | None, login: Login) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            host=host,
            port=port,
            protocol=2,  # one round trip less than RESP3, which needs HELLO, and any proxy knows it
            socket_timeout=None,
            socket_connect_timeout=None,
            socket_read_size=_READ_SIZE_BYTES,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=Connection._log_in,
        )
        self._timeouts = timeouts
        self._tls = tls
        self._login = login
        self._deadline = 0.0

    @property
    def is_open(self) -> bool:
        """Whether there is a socket; it may have been closed by the server since."""
        return self._sock is not None

    def drop(self) -> None:
        """Close the socket, if there is one."""
        self.disconnect()  # type: ignore[no-untyped-call]

    def call(self, arguments: tuple[Argument, ...], deadline: float) -> Any:
        """Send a command and give its reply, after connecting if need be.

        ``deadline`` is a moment of ``time.monotonic()``. Raises what ``RedisClient`` says.
        """
        if self._sock is None:
            self._open(deadline)
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise RedisTimeoutError("no time left to send a command")
        timeouts = self._timeouts
        # A send limit costs nothing as long as the send does not wait: gevent makes a timer only then.
        self._sock.settimeout(min(timeouts.send_s, left_s))
        packed = (_pack(arguments),)
        self.send_packed_command(packed, check_health=False)  # type: ignore[no-untyped-call]
        self._sock.settimeout(None)
        # The read limit is a timer around the whole reply: one of the socket would start anew with each piece.
        timer = gevent.Timeout(min(timeouts.read_s, left_s))
        timer.start()
        try:
            return self.read_response()
        except gevent.Timeout as raised:
            if raised is not timer:
                raise
            raise RedisTimeoutError("it took too long to read the reply") from None
        finally:
            timer.close()

    def _open(self, deadline: float) -> None:
        self._deadline = deadline
        try:
            self.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            self.drop()  # redis-py does so after its own errors only
            raise

    def _connect(self) -> Any:
        allowed_s = min(self._timeouts.connect_s, self._deadline - time.monotonic())
        with time_limit(allowed_s, "connect"):
            sock = _open_socket(self.host, self.port, time.monotonic() + allowed_s)
            return sock if self._tls is None else _start_tls(sock, self._tls, self.host)

    def _log_in(self) -> None:
        self._parser.on_connect(self)
        if self._login.credentials is not None:
            with time_limit(min(self._timeouts.connect_s, self._deadline - time.monotonic()), "get credentials"):
                credentials = self._login.credentials.get_credentials()
            self.call(("AUTH", *credentials), self._deadline)
        if self._login.database:
            self.call(("SELECT", self._login.database), self._deadline)


def _open_socket(host: str, port: int, until: float) -> Any:
    """Addresses are tried in the resolver's order, each for an equal share of the time that is left."""
    addresses = gevent_socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    failure: OSError | None = None
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = gevent_socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.settimeout(max((until - time.monotonic()) / (len(addresses) - position), 0.001))
            sock.connect(address)
            sock.settimeout(None)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure or OSError("the name has no address")


def _start_tls(sock: Any, tls: Tls, host: str) -> Any:
    wrapped = None
    try:
        wrapped = tls.context.wrap_socket(sock, server_hostname=tls.server_name or host, do_handshake_on_connect=False)
        wrapped.do_handshake()
    except BaseException:
        (sock if wrapped is None else wrapped).close()
        raise
    return wrapped
