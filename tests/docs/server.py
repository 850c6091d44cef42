"""What a page lets run beside its terminal: started, listened to, and ended with all that it has started."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_START_S = 30.0
_STOP_S = 10.0
_PORTS = range(20000, 32000)


class Server:
    """A command in a session of its own, from ``with`` on."""

    def __init__(self, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        self._command = command
        self._directory = directory
        self._environment = environment
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False

    def __enter__(self) -> Server:
        self._process = subprocess.Popen(
            self._command,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end_session(self._process)
        self._reader.join(_STOP_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def said(self, words: re.Pattern[str]) -> bool:
        """Wait until it prints a line with these words; False if it ends, or says nothing of it within 30 s."""

        def found() -> bool:
            return any(words.search(line) for line in self._lines)

        with self._changed:
            self._changed.wait_for(lambda: self._ended or found(), _START_S)
            return found()

    def output(self) -> str:
        """What it has printed so far."""
        with self._changed:
            return "".join(self._lines)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def end_session(leader: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """End a process and whatever is left of the session that it leads."""
    with suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGTERM)
    try:
        leader.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()


def free_port() -> int:
    """A port that nobody listens on, out of those that the system gives to nobody who asks for any."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as bound, suppress(OSError):
            bound.bind(("127.0.0.1", port))
            return port
