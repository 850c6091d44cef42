"""The plugin server beside the gateway: started, watched and started again, as Kong does with ``start_cmd``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from typing import IO

_LOG = logging.getLogger("request_callout.gateway")

_RESTART_AFTER_S = 1.0
_STOP_WITHIN_S = 10.0
_READY_WITHIN_S = 30.0


class ServerNotReady(Exception):
    """The plugin server did not open its socket in time, or ended."""


class PluginServer:
    """A ``request-callout serve`` process on a socket of its own; what it writes goes to ``output``."""

    def __init__(self, protocol: str, options: Sequence[str], output: IO[bytes] | None = None) -> None:
        self._folder = tempfile.mkdtemp(prefix="request-callout-")
        self.socket_path = f"{self._folder}/rc.sock"
        self._command = [sys.executable, "-m", "request_callout", "serve", "--socket", self.socket_path]
        self._command += ["--protocol", protocol, *options]
        self._output = output
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and wait until it takes connections; raises ServerNotReady."""
        await self._launch()
        deadline = asyncio.get_running_loop().time() + _READY_WITHIN_S
        while not await self._answers():
            if self._process is None or self._process.returncode is not None:
                await self.stop()
                raise ServerNotReady("the plugin server ended at its start")
            if asyncio.get_running_loop().time() > deadline:
                await self.stop()
                raise ServerNotReady(f"the plugin server opened no socket within {_READY_WITHIN_S:.0f} s")
            await asyncio.sleep(0.02)
        self._watcher = asyncio.create_task(self._watch())

    @property
    def pid(self) -> int | None:
        """The process as it runs now."""
        return self._process.pid if self._process is not None else None

    async def _launch(self) -> None:
        # What it prints goes where the gateway's own log goes, unless another place is named.
        output = self._output or sys.stderr
        # In a session of its own: Ctrl-C is for the gateway, which ends it when it is done with it.
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=output, stderr=output, start_new_session=True
        )

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self.socket_path)
        except OSError:
            return False
        writer.close()
        return True

    async def _watch(self) -> None:
        while self._process is not None:
            status = await self._process.wait()
            _LOG.warning("the plugin server ended with status %s; it is started again", status)
            await asyncio.sleep(_RESTART_AFTER_S)
            await self._launch()

    async def stop(self) -> None:
        """End it (SIGTERM, after a while SIGKILL) and remove its socket's folder."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), _STOP_WITHIN_S)
            except asyncio.TimeoutError:
                process.kill()
                await process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
