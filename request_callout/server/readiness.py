"""Telling others that the server takes connections: a file, and systemd's ``sd_notify``."""

from __future__ import annotations

import contextlib
import logging
import os
import socket

from request_callout.server.whole_file import write_whole

_log = logging.getLogger(__name__)


class ReadyFile:
    """A file that is there while the server takes connections; it holds the process's id."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._inode: tuple[int, int] | None = None

    def write(self) -> None:
        """Create the file, in one step for whoever looks for it. A failure is logged: Kong is served all the same."""
        if self._path is None:
            return
        try:
            found = write_whole(self._path, f"{os.getpid()}\n")
        except OSError as error:
            _log.error("can't write the ready file %s: %s", self._path, error.strerror)
            return
        self._inode = (found.st_dev, found.st_ino)

    def remove(self) -> None:
        """Remove the file, unless another server has written it since."""
        if self._path is None or self._inode is None:
            return
        with contextlib.suppress(OSError):
            found = os.stat(self._path)
            if (found.st_dev, found.st_ino) == self._inode:
                os.unlink(self._path)
        self._inode = None


def notify(state: str) -> None:
    """Tell systemd (``man sd_notify``), if it started this process with ``Type=notify``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError as error:
            _log.warning("can't tell systemd %s: %s", state, error.strerror)
