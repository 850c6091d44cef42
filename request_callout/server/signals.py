"""The signals that the supervisor takes: counted when they come, and acted on by its loop, which they wake."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

from request_callout.server.process import LEVEL_SIGNAL, STACK_SIGNAL, write_stacks

_Handler = Callable[[int, "FrameType | None"], Any]


class Signals:
    """How often each kind came since the loop last looked; ``woken`` can be read when one has come."""

    def __init__(self) -> None:
        self.stops = 0
        self.levels = 0
        self.stacks = 0
        self.hang_ups = 0
        self.woken, self._waker = socket.socketpair()
        self._before: dict[int, Any] = {}

    def take(self) -> None:
        """Count them from now on, until ``give_back``; to be called in the main thread."""
        self.woken.setblocking(False)
        self._waker.setblocking(False)
        handlers: dict[int, _Handler] = {
            signal.SIGTERM: self._on_stop,
            signal.SIGINT: self._on_stop,
            LEVEL_SIGNAL: self._on_level,
            STACK_SIGNAL: self._on_stack,
            signal.SIGHUP: self._on_hang_up,
            signal.SIGCHLD: lambda _number, _frame: None,
        }
        for number, handler in handlers.items():
            self._before[number] = signal.signal(number, handler)
        # This process writes its stack even where its loop does not turn; the loop asks the others for theirs.
        write_stacks(chain=True)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)

    def drain(self) -> None:
        """Take out of ``woken`` what came until now: the loop is awake."""
        with contextlib.suppress(BlockingIOError):
            self.woken.recv(4096)

    def give_back(self) -> None:
        """Leave all signals to what had them before."""
        signal.set_wakeup_fd(-1)
        faulthandler.unregister(STACK_SIGNAL)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._close()

    def leave_in_child(self) -> None:
        """A forked process ends by SIGTERM; what else is for the supervisor, it hears of by its link."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, LEVEL_SIGNAL, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        self._close()

    def _close(self) -> None:
        self.woken.close()
        self._waker.close()

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stops += 1

    def _on_level(self, _number: int, _frame: FrameType | None) -> None:
        self.levels += 1

    def _on_stack(self, _number: int, _frame: FrameType | None) -> None:
        self.stacks += 1

    def _on_hang_up(self, _number: int, _frame: FrameType | None) -> None:
        self.hang_ups += 1
