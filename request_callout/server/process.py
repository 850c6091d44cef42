"""What the supervisor and the workers have in common as processes: the log, signals, limits."""

from __future__ import annotations

import contextlib
import logging
import resource
import signal
import sys
from typing import TYPE_CHECKING, TextIO

from request_callout.server.log_lines import Format, formatter

GRACE_S = 30.0
"""How long requests in flight may take after SIGTERM unless an option says otherwise."""
STACK_SIGNAL = signal.SIGUSR1
"""Each process writes its stack to standard error when it gets this signal, even if its loop does not turn; the
supervisor passes it on to the others."""
LEVEL_SIGNAL = signal.SIGUSR2
"""The server's log goes to the next finer level, and after the finest back to the one it was started with."""


if TYPE_CHECKING:
    _Stream = logging.StreamHandler[TextIO]
else:  # no generic before Python 3.11
    _Stream = logging.StreamHandler


class _Output(_Stream):
    """Lines of one format on standard error."""

    def __init__(self, style: Format) -> None:
        super().__init__(sys.stderr)
        self.style = style


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


def set_log_level(level: str) -> None:
    """Log from this level on."""
    logging.getLogger().setLevel(level.upper())


def allow_many_connections() -> None:
    """Raise the limit of open files to what this process may have: each connection of Kong is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
