"""The process that starts the workers and handles no requests itself.

It binds the socket and forks the workers, which accept on it; it keeps the configurations that Kong has started, for
any worker to ask; it starts a worker again that died, or whose loop does not turn. It is one loop over signals and the
workers' links, in plain Python: neither gevent nor Lua is loaded before the fork, so nothing of theirs is shared.

When it dies itself, even by SIGKILL, its links end, and with them the workers.

One more process, the reporter, is started when there is somebody to report to (``reports``). It is watched like the
workers, and takes no requests.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from request_callout.server.control import (
    Close,
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
)
from request_callout.server.loads import Loads
from request_callout.server.log_level import LogLevel
from request_callout.server.places import Place
from request_callout.server.presence import Presence
from request_callout.server.process import GRACE_S, STACK_SIGNAL
from request_callout.server.readiness import ReadyFile, notify
from request_callout.server.registry import Configurations, Registry
from request_callout.server.reports import Reports
from request_callout.server.signals import Signals
from request_callout.server.sockets import ListeningSocket, SocketError
from request_callout.server.stand_in import Awaits
from request_callout.telemetry import families

if TYPE_CHECKING:
    from request_callout.server.worker import Work

_log = logging.getLogger(__name__)

_STACK_WITHIN_S = 0.5
_STARTED_WITHIN_S = 60.0
_OVER_GRACE_S = 2.0
_LINGER_S = 1.0
_LONGEST_WAIT_S = 1.0
_SUCCESSOR_WITHIN_S = 20.0
_LOOK_FOR_SUCCESSOR_EVERY_S = 0.05

Build = Callable[[Registry], "Work"]
"""Makes what a worker does, in the worker. Raises ValueError for settings that can't be used."""


@dataclass(frozen=True, slots=True)
class Options:
    """How many workers there are, and when they are given up.

    ``watchdog_s``: a worker whose loop has not turned for so long is replaced; 0 for never. ``grace_s``: how long
    requests in flight may take after SIGTERM. ``exit_with_parent``: end when the process that started this one ends.
    ``awaits_successor``: while this is so, the server serves on when it is told to end, until another has the path,
    for 20 seconds at most.
    """

    version: str
    workers: int = 1
    watchdog_s: float = 5.0
    grace_s: float = GRACE_S
    ready_file: str | None = None
    exit_with_parent: bool = False
    awaits_successor: Awaits | None = None


class StartFailed(Exception):
    """The first workers could not start; the message says why."""


class Supervisor:
    """Runs workers on one listening socket until it is told to stop."""

    def __init__(
        self, build: Build, listening: ListeningSocket, options: Options, reports: Reports | None = None
    ) -> None:
        self._build = build
        self._listening = listening
        self._options = options
        self._reports = reports or Reports()
        self._configurations = Configurations(options.version)
        self._selector = selectors.DefaultSelector()
        self._workers = [Place(number, self._selector) for number in range(options.workers)]
        self._reporter = Place(None, self._selector)
        self._places = [*self._workers, self._reporter]
        self._loads = Loads(options.workers)
        self._ready_file = ReadyFile(options.ready_file)
        self._parent = os.getppid()
        self._ready = False
        self._failure: str | None = None
        self._stopping_by: float | None = None
        self._restarts = 0
        self._socket_gone = False
        self._presence = Presence()
        self._level = LogLevel()
        self._signals = Signals()
        self._stacks: list[Place] = []
        self._stack_at = 0.0
        self._started_at = time.time()
        self._told_at: float | None = None

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, finish what is in flight, and end; a second signal does not wait.

        Raises StartFailed or SocketError if the first workers can't serve.
        """
        self._selector.register(self._signals.woken, selectors.EVENT_READ)
        self._signals.take()
        try:
            while self._stopping_by is None or any(place.pid for place in self._workers):
                self._turn()
            _log.info("stopped")
        finally:
            for place in self._places:
                self._absent(place)
                place.kill()
            self._ready_file.remove()
            self._listening.close()
            self._reports.close()
            self._selector.close()
            self._signals.give_back()

    # One turn of the loop

    def _turn(self) -> None:
        now = time.monotonic()
        self._tick(now)
        until = min([now + self._longest_wait_s, *self._deadlines()])
        wait_s = max(0.0, until - now)
        ready = self._selector.select(wait_s)
        if time.monotonic() - now > wait_s + max(0.5, self._options.watchdog_s / 2):
            # This process itself stood still (a paused container, a suspended machine): so did the workers.
            for place in self._places:
                place.heard = time.monotonic()
        for key, events in ready:
            if key.data is None:
                self._signals.drain()
            else:
                self._exchange(key.data, events)
        for place in self._places:
            self._reap(place)
        self._count()

    @property
    def _longest_wait_s(self) -> float:
        waits = self._told_at is not None and self._stopping_by is None
        return _LOOK_FOR_SUCCESSOR_EVERY_S if waits else _LONGEST_WAIT_S

    def _deadlines(self) -> list[float]:
        """When something is to be done although nothing happens."""
        found = [self._stopping_by] if self._stopping_by is not None else []
        if self._stacks:
            found.append(self._stack_at)
        for place in self._places:
            found += [at for at in (place.start_at, place.kill_at) if at is not None]
        return found

    def _tick(self, now: float) -> None:
        signals = self._signals
        if signals.stops == 0 and self._options.exit_with_parent and os.getppid() != self._parent:
            _log.warning("the process that started this one is gone")
            signals.stops = 1
        while signals.levels:
            signals.levels -= 1
            level = Level(self._level.step())
            for place in self._places:
                place.send(level)
        self._ask_for_stacks(now)
        if signals.hang_ups:
            self._tell_of_hang_up()
        if self._ready and self._stopping_by is None:
            self._look_at_the_sockets()
        if signals.stops and self._stopping_by is None and not self._successor_awaited(now):
            self._stop(now)
        impatient = self._stopping_by is not None and (signals.stops > 1 or now >= self._stopping_by)
        for place in self._places:
            if place.pid is not None:
                if impatient or (place.kill_at is not None and now >= place.kill_at):
                    place.signal(signal.SIGKILL)
                elif place.kill_at is None:
                    self._watch(place, now)
            elif place.start_at is not None and now >= place.start_at and self._stopping_by is None:
                self._start(place, now)
        if self._reporter.wanted and self._reports and self._ready and self._listening.taken_over:
            self._leave_reports()

    def _successor_awaited(self, now: float) -> bool:
        """Whether to serve on although the server is told to end: another is about to take the path."""
        awaits = self._options.awaits_successor
        if awaits is None or self._signals.stops > 1 or not self._ready or not self._listening.ours:
            return False
        if self._told_at is None:
            self._told_at = now
            _log.info("told to end: serving until another server takes the socket over, if Kong starts one")
        told_s = now - self._told_at
        return told_s < _SUCCESSOR_WITHIN_S and awaits(told_s)

    def _watch(self, place: Place, now: float) -> None:
        """Give a worker up whose loop does not turn."""
        limit_s = self._options.watchdog_s if place.ready else _STARTED_WITHIN_S
        if place.pid is None or not limit_s or now - place.heard < limit_s:
            return
        _log.error("%s has not turned its loop for %.1f s and is replaced; its stack:", place, now - place.heard)
        place.signal(STACK_SIGNAL)
        place.kill_at = now + _STACK_WITHIN_S

    def _ask_for_stacks(self, now: float) -> None:
        """Let all processes write their stacks, after this one's: one after the other, since each writes in pieces."""
        if self._signals.stacks:
            self._signals.stacks = 0
            _log.warning("this was the supervisor's stack; those of its other processes follow")
            self._stacks = list(self._places)
            self._stack_at = now
        while self._stacks and now >= self._stack_at:
            place = self._stacks.pop(0)
            if place.pid is not None:
                _log.warning("the stack of %s:", place)
                place.signal(STACK_SIGNAL)
                self._stack_at = now + _STACK_WITHIN_S / 5

    def _tell_of_hang_up(self) -> None:
        """A daemon outlives the terminal that it was started from, and who means "reload" must not end it."""
        self._signals.hang_ups = 0
        _log.warning(
            "SIGHUP has no effect: Kong brings the configurations, and options are read at the start; "
            "for other options start a new server with --replace, to end this one send SIGTERM"
        )

    def _look_at_the_sockets(self) -> None:
        """Make those anew whose files were removed: this process would serve on without a new connection."""
        self._socket_gone = self._listening.gone
        if self._presence.restored(self._listening, "Kong can't connect any more, and its requests get 500"):
            self._socket_gone = False
            for place in self._workers:
                place.send(Listen(), self._listening.socket)
        if self._reporter.wanted:
            again = [
                self._presence.restored(one, "nobody can ask there any more") for one in self._reports.unix_sockets()
            ]
            if any(again):
                self._reporter.signal(signal.SIGTERM)  # the next one has the new sockets

    def _stop(self, now: float) -> None:
        notify("STOPPING=1")
        self._ready_file.remove()
        # With a successor on the path Kong has where to go: its connections can be let go one by one.
        linger_s = 0.0 if self._listening.ours else _LINGER_S
        self._listening.remove()
        self._stopping_by = now + self._options.grace_s + _OVER_GRACE_S
        self._reporter.start_at = None  # it reports until all workers have ended
        for place in self._workers:
            place.start_at = None
            place.send(Stop(self._options.grace_s, min(linger_s, self._options.grace_s)))
            if not place.ready:
                place.signal(signal.SIGKILL)
        _log.info("stopping")

    def _leave_reports(self) -> None:
        """Another server has taken the path: it reports from now on, at the same addresses if they were the same."""
        self._reporter.wanted = False
        self._reporter.start_at = None
        self._reports.close()
        self._reporter.send(Stop(0.0, 0.0))

    # Workers come and go

    def _start(self, place: Place, now: float) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._not_started(place, now, error)
            return
        try:
            pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            self._not_started(place, now, error)
            return
        if pid == 0:
            ours.close()
            self._become(place, theirs)
        theirs.close()
        place.taken(pid, ours, now)

    def _not_started(self, place: Place, now: float, error: OSError) -> None:
        """The system gives no more processes, memory or descriptors now; those that run serve on."""
        if not self._ready:
            raise StartFailed(f"can't start {place.name}: {error.strerror}")
        pause_s = place.restarts.pause_s(0.0) or _LONGEST_WAIT_S
        place.start_at = now + pause_s
        _log.critical(
            "can't start %s: %s; tried again in %g s. Limits of processes, memory or open files may be too low",
            *(place.name, error.strerror, pause_s),
        )

    def _become(self, place: Place, link: socket.socket) -> None:
        """Never returns: what is above on the stack is the supervisor's."""
        status = 1
        try:
            self._signals.leave_in_child()
            # A link that another worker holds too would not end with the supervisor.
            self._selector.close()
            for other in self._places:
                if other.link is not None:
                    other.link.close()
            if place.number is None:
                self._listening.socket.close()
                from request_callout.server.reporter import report

                status = report(link, self._reports, self._options)
            else:
                self._reports.in_worker(place.number)
                from request_callout.server.worker import work

                status = work(self._build, self._listening.socket, link, place.number, self._loads, self._options)
        except BaseException:
            _log.exception("%s ended by an error", place.name)
        finally:
            logging.shutdown()
            os._exit(status)

    def _reap(self, place: Place) -> None:
        """Take note of a worker's end."""
        if place.pid is None:
            return
        pid, status = os.waitpid(place.pid, os.WNOHANG)
        if pid == 0:
            return
        if place.link is not None:
            self._exchange(place, selectors.EVENT_READ)  # its last words
        now = time.monotonic()
        was = str(place)
        self._absent(place)
        place.left()
        if self._stopping_by is not None or not place.wanted:
            return
        if not self._ready:
            raise StartFailed(self._failure or f"{was} {_ended(status)} before it could serve")
        if place is not self._reporter:
            self._restarts += 1
        lived_s = now - place.born
        pause_s = place.restarts.pause_s(lived_s)
        place.start_at = now + pause_s
        how = f"{_ended(status)}{': ' + self._failure if self._failure else ''}"
        self._failure = None
        if place.restarts.deaths == 1:
            _log.error("%s %s; it is replaced now", was, how)
        else:
            _log.critical(
                "%s %s AGAIN, death %d in a row, after %.1f s: it is replaced in %g s; %d of %d workers run",
                *(was, how, place.restarts.deaths, lived_s, pause_s),
                *(sum(other.ready for other in self._workers), len(self._workers)),
            )

    def _absent(self, place: Place) -> None:
        """Nobody gives a connection to the worker that was here."""
        if place.number is not None:
            self._loads.absent(place.number)

    # Links

    def _exchange(self, place: Place, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            place.flush()
        if events & selectors.EVENT_READ:
            for message in place.received():
                self._answer(place, message)

    def _answer(self, place: Place, message: Message) -> None:
        if isinstance(message, Start):
            registered = self._configurations.start(message.config.encode("latin-1"))
            place.send(Found.of(message.number, registered))
        elif isinstance(message, Find):
            found = self._configurations.find(message.instance_id)
            place.send(Missing(message.number) if found is None else Found.of(message.number, found))
        elif isinstance(message, Close):
            self._configurations.close(message.instance_id)
        elif isinstance(message, Used):
            ended = self._configurations.sweep({one: place.heard - ago_s for one, ago_s in message.ids})
            if ended:
                for other in self._workers:
                    other.send(Ended(list(ended)))
        elif isinstance(message, Failed):
            self._failure = message.reason
        elif isinstance(message, Ready):
            place.ready = True
            if not self._ready and all(other.ready for other in self._workers):
                self._announce()

    def _announce(self) -> None:
        """All workers accept, so Kong's first connections spread over them: from now on the path is ours."""
        self._reports.publish()
        self._listening.publish()
        self._ready = True
        if self._reports.metrics is not None:
            _log.info("metrics at %s", self._reports.metrics.address)
        self._ready_file.write()
        notify(f"READY=1\nMAINPID={os.getpid()}")
        _log.info("listening on %s", self._listening.path)
        if self._reports:
            self._reporter.start_at = 0.0

    def _count(self) -> None:
        """Tell the reporter what only this process knows."""
        values = self._reports.own
        if values is not None:
            cells = values.cells
            cells[values.cell(families.WORKERS)] = (
                0 if self._socket_gone else sum(place.ready for place in self._workers)
            )
            cells[values.cell(families.WORKERS_WANTED)] = len(self._workers)
            cells[values.cell(families.WORKER_RESTARTS)] = self._restarts
            cells[values.cell(families.START_TIME)] = self._started_at
            cells[values.cell(families.CONFIGURATIONS)] = len(self._configurations)


def _ended(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


__all__ = ["Build", "Options", "SocketError", "StartFailed", "Supervisor"]
