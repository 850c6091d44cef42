"""The process that Kong knows when it starts the server itself (``start_cmd``), while the server is a child of it.

When a worker of nginx ends, it sends SIGTERM to what it started, and SIGKILL a few milliseconds later (its Lua VM
destroys the handle of the process). But then, on ``kong reload``, the server has to serve until its successor listens,
and requests of other workers may be in flight. So what Kong kills is only a stand-in: it passes signals on.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from typing import NoReturn

_LOOK_EVERY_S = 1.0
_SIGNALS = {
    *(signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP),
}

_KONG_ENDS_WITHIN_S = 1.0

Awaits = Callable[[float], bool]
"""Whether another server will come; given how many seconds ago this one was told to end."""


def leave_behind() -> Awaits:
    """Go on in a child that is the server; this process stays behind until either of both or its own parent ends.

    Another server will come when Kong's worker ends and its master process goes on. As long as that worker runs, it
    starts another only when this one has ended: it waits for the end of the output, too.
    """
    parent = os.getppid()
    worker_runs = _watch(parent)
    master_runs = _watch(_parent_of(parent))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    server = os.fork()
    if server:
        _stand_in(server, parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return lambda told_s: master_runs() and (told_s < _KONG_ENDS_WITHIN_S or not worker_runs())


def _stand_in(server: int, parent: int) -> NoReturn:
    signal.setitimer(signal.ITIMER_REAL, _LOOK_EVERY_S, _LOOK_EVERY_S)
    while os.getppid() == parent:
        number = signal.sigwait(_SIGNALS)
        if number in (signal.SIGTERM, signal.SIGINT):
            os.kill(server, number)
            os._exit(0)
        if number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            os.kill(server, number)
        ended, status = os.waitpid(server, os.WNOHANG)
        if ended:
            os._exit(abs(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _parent_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _watch(pid: int | None) -> Callable[[], bool]:
    """Whether this process runs; false where that can't be told."""
    try:
        descriptor = os.pidfd_open(pid) if pid else None
    except (AttributeError, OSError):
        descriptor = None
    if descriptor is None:
        return lambda: False
    return lambda: not select.select([descriptor], [], [], 0)[0]
