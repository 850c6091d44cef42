"""What the supervisor and the workers have in common as processes: the log, signals, limits."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import resource
import signal
import sys

from request_callout.server.log_lines import Format, formatter
from request_callout.server.standard_error import StandardError

GRACE_S = 30.0
"""How long requests in flight may take after SIGTERM unless an option says otherwise."""
STACK_SIGNAL = signal.SIGUSR1
"""Each process writes its stack to standard error when it gets this signal, even if its loop does not turn; the
supervisor passes it on to the others."""
LEVEL_SIGNAL = signal.SIGUSR2
"""The server's log goes to the next finer level, and after the finest back to the one it was started with."""


class _Output(logging.Handler):
    """Lines of one format on standard error."""

    def __init__(self, style: Format) -> None:
        super().__init__()
        self.style = style
        self.stream = StandardError(self._lost)

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a record without a lock: one write is one line, and nothing on the way to it waits."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line."""
        try:
            line = self._line(record)
        except Exception:  # as all handlers do: whoever logs goes on
            self.handleError(record)
            return
        self.stream.write(line)

    def _line(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode(errors="backslashreplace")

    def _lost(self, count: int) -> bytes:
        text = "lines of this process's log that are lost: %d; who reads its standard error is too slow, or has no room"
        return self._line(logging.LogRecord(__name__, logging.WARNING, "", 0, text, (count,), None))


def set_up_logging(level: str, style: Format = "text") -> None:
    """Send log lines of this process, and of those it forks, to standard error."""
    # What no line shows is not collected, a quarter of what a line costs:
    # https://docs.python.org/3/howto/logging.html#optimization
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [_Output(style)]
    root.setLevel(level.upper())
    name_in_log(None)


def name_in_log(name: str | None) -> None:
    """Put the name of this process into its log lines."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Output):
            handler.setFormatter(formatter(handler.style, name))


def write_stacks(*, chain: bool = False) -> None:
    """Write the stacks of this process to standard error at STACK_SIGNAL, and when it crashes.

    ``chain``: what else is to happen at the signal happens too.
    """
    descriptor = stack_descriptor()
    faulthandler.enable(descriptor)
    faulthandler.register(STACK_SIGNAL, descriptor, all_threads=True, chain=chain)


def stack_descriptor() -> int:
    """Where ``faulthandler`` may write without waiting for who reads it."""
    found = [handler.stream.descriptor for handler in logging.getLogger().handlers if isinstance(handler, _Output)]
    return found[0] if found else sys.stderr.fileno()


def set_log_level(level: str) -> None:
    """Log from this level on."""
    logging.getLogger().setLevel(level.upper())


def allow_many_connections() -> None:
    """Raise the limit of open files to what this process may have: each connection of Kong is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
