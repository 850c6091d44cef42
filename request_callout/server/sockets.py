"""The unix socket that Kong connects to: taken over when it is stale, left alone while another server listens on it.

On a reload Kong starts a new server on the path while the old one still finishes. So a server removes the file at its
end only if it is still its own.
"""

from __future__ import annotations

import errno
import os
import socket as plain
import stat

from gevent.socket import AF_UNIX, SOCK_STREAM, socket

_BACKLOG = 4096


class SocketError(Exception):
    """The socket can't be listened on; the message says why and what to do."""


class ListeningSocket:
    """A listening unix socket at ``path`` with the permissions ``mode``.

    With ``take_over`` a path where another server listens is taken from it, without a moment in which nobody listens;
    that one keeps the connections it has. Raises SocketError.
    """

    def __init__(self, path: str, mode: int = 0o600, *, take_over: bool = False) -> None:
        self.path = path
        live = _make_way(path, take_over=take_over)
        bound = f"{path}.{os.getpid()}" if live else path
        self.socket = socket(AF_UNIX, SOCK_STREAM)
        # The permissions hold from the first moment: nobody may connect between bind and a chmod.
        mask = os.umask(0o777 & ~mode)
        try:
            self.socket.bind(bound)
            self.socket.listen(_BACKLOG)
            if live:
                os.rename(bound, path)
        except OSError as error:
            self.socket.close()
            raise SocketError(f"can't create the socket {path}: {error.strerror or error}") from None
        finally:
            os.umask(mask)
        self._inode = _inode(path)

    def close(self) -> None:
        """Stop listening and remove the file, unless the path is another server's by now."""
        self.socket.close()
        if self._inode is not None and _inode(self.path) == self._inode:
            os.unlink(self.path)
        self._inode = None


def _make_way(path: str, *, take_over: bool) -> bool:
    """Remove a stale socket at ``path``; gives whether a server listens there (which it may with ``take_over``)."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SocketError(f"can't create the socket {path}: {error.strerror}") from None
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketError(f"{path} exists and is no socket: choose another path, or remove it")
    if not _is_live(path):
        os.unlink(path)
        return False
    if not take_over:
        raise SocketError(
            f"another server listens on {path}: stop it first, choose another path, or take it over with --replace"
        )
    return True


def _is_live(path: str) -> bool:
    with plain.socket(plain.AF_UNIX, plain.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            # Anything but "nobody listens" may be a server that is only busy, or not ours to remove.
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
        return True


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
