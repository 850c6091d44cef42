"""The embedded gateway as a process of its own: started, waited for, ended."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_ADDRESS = re.compile(r"^(proxy|admin)\s+(http://\S+)")
_START_S = 30.0
_STOP_S = 10.0


class GatewayFailed(Exception):
    """The gateway did not come up; the message holds what it said."""


class GatewayProcess:
    """``request-callout gateway FILE``, running from ``with`` on; ``proxy`` and ``admin`` are its URLs.

    ``options`` go to the command as they are, ``environment`` is added to that of this process. Entering raises
    GatewayFailed when the gateway ends or says no addresses within 30 s. Both its outputs are kept for ``log``.
    """

    def __init__(
        self,
        configuration: Path,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        proxy: str = "127.0.0.1:0",
        admin: str = "127.0.0.1:0",
    ) -> None:
        self.proxy = ""
        self.admin = ""
        self._command = [sys.executable, "-m", "request_callout", "gateway", str(configuration)]
        self._command += ["--proxy", proxy, "--admin", admin, *options]
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> GatewayProcess:
        # Its own session: a Ctrl-C in the terminal is for the parent, which then ends the gateway in order.
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        found: queue.Queue[tuple[str, str] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(self._process, found), daemon=True)
        self._reader.start()
        try:
            self._wait(found)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(_STOP_S)
        if process.stdout is not None:
            process.stdout.close()
        self._errors.close()
        self._process = None

    @property
    def pid(self) -> int:
        """The process id of the gateway; its only child is the plugin server."""
        if self._process is None:
            raise GatewayFailed("the gateway does not run")
        return self._process.pid

    def log(self) -> str:
        """What the gateway and the plugin server in it have written so far."""
        position = os.fstat(self._errors.fileno()).st_size
        return "".join(self._lines) + os.pread(self._errors.fileno(), position, 0).decode("utf-8", "replace")

    def _read(self, process: subprocess.Popen[str], found: queue.Queue[tuple[str, str] | None]) -> None:
        assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
        for line in process.stdout:
            self._lines.append(line)
            match = _ADDRESS.match(line)
            if match:
                found.put((match[1], match[2]))
        found.put(None)

    def _wait(self, found: queue.Queue[tuple[str, str] | None]) -> None:
        deadline = time.monotonic() + _START_S
        while not (self.proxy and self.admin):
            try:
                address = found.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise GatewayFailed(f"no addresses within {_START_S:.0f} s\n{self.log()}") from None
            if address is None:
                raise GatewayFailed(f"the gateway ended before it was ready\n{self.log()}")
            setattr(self, *address)
