"""A worker: one process that handles requests, on connections that it accepts itself.

Its link to the supervisor is its lifeline: it tells of each turn of the loop, asks for configurations, and ends when
the link does.
"""

from __future__ import annotations

# Before anything that uses sockets, threads or time is imported.
from gevent import monkey

monkey.patch_all()

import contextlib  # noqa: E402
import faulthandler  # noqa: E402
import itertools  # noqa: E402
import logging  # noqa: E402
import signal  # noqa: E402
import socket as plain  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterable, Mapping  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

import gevent  # noqa: E402
from gevent.event import AsyncResult, Event  # noqa: E402
from gevent.lock import Semaphore  # noqa: E402
from gevent.queue import Queue  # noqa: E402
from gevent.socket import socket  # noqa: E402

from request_callout.server import process  # noqa: E402
from request_callout.server.acceptor import Acceptor  # noqa: E402
from request_callout.server.control import (  # noqa: E402
    Beat,
    Close,
    Decoder,
    Ended,
    Failed,
    Find,
    Found,
    Level,
    Listen,
    Message,
    Missing,
    Ready,
    Start,
    Stop,
    Used,
    encode,
)
from request_callout.server.registry import Registered  # noqa: E402

if TYPE_CHECKING:
    from request_callout.server.loads import Loads
    from request_callout.server.supervisor import Build, Options

_log = logging.getLogger(__name__)

_LONGEST_BEAT_S = 1.0
_LAST_RESORT_S = 60.0
_MOST_DESCRIPTORS = 8


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker does.

    ``handle(socket, address)`` serves one connection to its end; ``stop(grace_s, linger_s)`` waits for what is in
    flight and gives how much was not finished; ``sweep()`` is called every second, ``close()`` at the end.
    ``share(give_away)`` is told how to leave a connection to another worker: see ``Acceptor.give_away``.
    """

    handle: Callable[[socket, object], None]
    stop: Callable[[float, float], int]
    sweep: Callable[[], None]
    close: Callable[[], None]
    share: Callable[[Callable[[socket], bool]], None] = lambda give_away: None


class Link:
    """The worker's end of the link; a ``Registry`` that asks the supervisor."""

    def __init__(self, sock: socket) -> None:
        self._socket = sock
        self._sending = Semaphore()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, AsyncResult[Registered | None]] = {}
        self._ended: list[int] = []
        self._gone = False
        self._stop: Stop | None = None
        self.told_to_stop = Event()
        self.listening: Queue[plain.socket] = Queue()
        """Sockets to accept on, each instead of the one before."""
        gevent.spawn(self._receive)

    def send(self, message: Message) -> None:
        """Tell the supervisor; does nothing when it is gone."""
        with self._sending, contextlib.suppress(OSError):
            self._socket.sendall(encode(message))

    def start(self, config: bytes) -> Registered:
        """See ``Registry.start``. The supervisor knows the configuration when this returns; OSError without one."""
        number = next(self._numbers)
        registered = self._ask(Start(number, config.decode("latin-1")), number)
        assert registered is not None  # noqa: S101
        return registered

    def find(self, instance_id: int) -> Registered | None:
        """See ``Registry.find``."""
        number = next(self._numbers)
        return self._ask(Find(number, instance_id), number)

    def close(self, instance_id: int) -> None:
        """See ``Registry.close``."""
        self.send(Close(instance_id))

    def sweep(self, used: Mapping[int, float]) -> Iterable[int]:
        """See ``Registry.sweep``."""
        now = time.monotonic()
        self.send(Used([(instance_id, now - last_used) for instance_id, last_used in used.items()]))
        ended, self._ended = self._ended, []
        return ended

    def stop_order(self, otherwise: Stop) -> Stop:
        """How the supervisor told to stop, if it did."""
        return self._stop or otherwise

    def _ask(self, message: Message, number: int) -> Registered | None:
        if self._gone:
            raise _gone()
        answer: AsyncResult[Registered | None] = AsyncResult()
        self._waiting[number] = answer
        try:
            self.send(message)
            return answer.get()
        finally:
            del self._waiting[number]

    def _receive(self) -> None:
        decoder = Decoder()
        received: list[int] = []
        while True:
            try:
                data, descriptors, _, _ = plain.recv_fds(self._socket, 1 << 18, _MOST_DESCRIPTORS)
            except OSError:
                data, descriptors = b"", []
            received += descriptors
            if not data:
                break
            for message in decoder.feed(data):
                if isinstance(message, Listen):
                    listening = plain.socket(fileno=received.pop(0))
                    listening.setblocking(False)
                    self.listening.put(listening)
                else:
                    self._take(message)
        if self._stop is None:
            _log.error("the supervisor is gone: ending when what is in flight is answered; start the server again")
        self.told_to_stop.set()
        # Nobody can say any more which configuration has which id: no answer is better than a wrong one.
        self._gone = True
        for answer in self._waiting.values():
            answer.set_exception(_gone())

    def _take(self, message: Message) -> None:
        if isinstance(message, (Found, Missing)):
            answer = self._waiting.get(message.number)
            if answer is not None:
                answer.set(message.registered if isinstance(message, Found) else None)
        elif isinstance(message, Ended):
            self._ended += message.ids
        elif isinstance(message, Level):
            process.set_log_level(message.level)
        elif isinstance(message, Stop):
            self._stop = message
            self.told_to_stop.set()


def _gone() -> OSError:
    return OSError("the supervisor is gone")


def work(
    build: Build, listening: plain.socket, link_socket: plain.socket, place: int, loads: Loads, options: Options
) -> int:
    """Be the worker at this place until told to stop; gives the process's exit status."""
    process.write_stacks()
    if options.workers > 1:
        process.name_in_log(f"worker {place + 1}")
    link = Link(socket(link_socket.family, link_socket.type, fileno=link_socket.detach()))
    try:
        made = build(link)
    except ValueError as error:
        link.send(Failed(str(error)))
        return 1
    acceptor = Acceptor(listening, made.handle, place, loads)
    if options.workers > 1:
        made.share(acceptor.give_away)
    term = gevent.signal_handler(signal.SIGTERM, link.told_to_stop.set)
    link.send(Ready())
    gevent.spawn(beat, link, options)
    gevent.spawn(_sweep, made)
    moves = gevent.spawn(_move, link, acceptor)

    link.told_to_stop.wait()
    order = link.stop_order(Stop(options.grace_s, 0.0))
    moves.kill()
    acceptor.stop()
    left = made.stop(order.grace_s, order.linger_s)
    if left:
        _log.warning("ended with requests in flight: %d", left)
    made.close()
    term.cancel()
    return 0


def beat(link: Link, options: Options) -> None:
    """Tell the supervisor of each turn of the loop, for ever."""
    pause_s = min(_LONGEST_BEAT_S, options.watchdog_s / 5 or _LONGEST_BEAT_S)
    descriptor = process.stack_descriptor()
    last_resort_s = max(_LAST_RESORT_S, 3 * options.watchdog_s) if options.watchdog_s else None
    while True:
        if last_resort_s is not None:
            # A loop that stands still when the supervisor is gone would hold the socket for ever.
            faulthandler.dump_traceback_later(last_resort_s, exit=True, file=descriptor)
        gevent.sleep(pause_s)
        link.send(Beat())


def _move(link: Link, acceptor: Acceptor) -> None:
    while True:
        acceptor.move_to(link.listening.get())


def _sweep(made: Work) -> None:
    while True:
        gevent.sleep(_LONGEST_BEAT_S)
        made.sweep()
