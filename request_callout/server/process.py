"""What the supervisor and the workers have in common as processes: the log, signals, limits."""

from __future__ import annotations

import contextlib
import logging
import resource
import signal
import sys

from request_callout.server.log_lines import LineFormatter

GRACE_S = 30.0
"""How long requests in flight may take after SIGTERM unless an option says otherwise."""
STACK_SIGNAL = signal.SIGUSR1
"""A worker writes its stack to standard error when it gets this signal, even if its loop does not turn."""


def set_up_logging(level: str) -> None:
    """Send log lines of this process to standard error, with time and level."""
    # What no line shows is not collected, a quarter of what a line costs:
    # https://docs.python.org/3/howto/logging.html#optimization
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    name_in_log(None)


def name_in_log(name: str | None) -> None:
    """Put the name of this process into its log lines."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(LineFormatter(name))


def allow_many_connections() -> None:
    """Raise the limit of open files to what this process may have: each connection of Kong is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
