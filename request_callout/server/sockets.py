"""The unix socket that Kong connects to: taken over when it is stale, left alone while another server listens on it.

The socket is bound under a name of its own in the same folder and moved to its path when it is published: nobody
connects before somebody accepts, and a server that can't start takes nothing from the one that runs. On a reload Kong
starts a new server on the path while the old one still finishes. So a server removes the file at its end only if it is
still its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import stat
import sys

_BACKLOG = 4096
_LONGEST_PATH = 107 if sys.platform == "linux" else 103
"""What fits into a ``sockaddr_un``, in bytes."""

_REMEDIES = {
    errno.ENOENT: ": its folder has to exist; make it",
    errno.ENOTDIR: ": its folder is a file; choose another path",
    errno.EACCES: ": this user has to be allowed to write to its folder",
    errno.EROFS: ": choose a folder that can be written to",
    errno.EPERM: ": choose a folder that can be written to",
}


class SocketError(Exception):
    """The socket can't be listened on; the message says why and what to do."""


class ListeningSocket:
    """A listening unix socket at ``path`` with the permissions ``mode``, of the group with the id ``group``.

    With ``take_over`` a path where another server listens is taken from it, without a moment in which nobody listens;
    that one keeps the connections it has. Without ``publish`` the path is taken by ``publish()`` only.
    ``socket`` does not block. Raises SocketError.
    """

    def __init__(
        self,
        path: str,
        mode: int = 0o600,
        *,
        group: int | None = None,
        take_over: bool = False,
        publish: bool = True,
    ) -> None:
        self.path = path
        self._take_over = take_over
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise SocketError(
                f"can't create the socket {path}: a socket's path has at most {_LONGEST_PATH} bytes: shorten it"
            )
        _make_way(path, take_over=take_over)
        self._mode, self._group = mode, group
        self._bound: str | None
        self.socket, self._bound = self._bind()
        self._inode = _inode(self._bound)
        if publish:
            self.publish()

    def _bind(self) -> tuple[socket.socket, str]:
        """A socket that listens, and the name that it has until it gets its path."""
        # No longer than most names: the whole path has to fit into 107 bytes.
        name = os.path.join(os.path.dirname(self.path), f".{secrets.token_hex(4)}")
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Nobody else may connect between bind and the change of group and permissions.
        mask = os.umask(0o177)
        try:
            made.bind(name)
            if self._group is not None:
                os.chown(name, -1, self._group)
            os.chmod(name, self._mode)
            made.setblocking(False)
            made.listen(_BACKLOG)
        except OSError as error:
            _discard(made, name)
            raise self._failure(error) from None
        finally:
            os.umask(mask)
        return made, name

    def bind_again(self) -> None:
        """Listen at the path again, when it is ``gone``: on a new ``socket``, since an old one can't get its name back.

        The one before is closed in this process. Raises SocketError, and nothing has changed then.
        """
        made, name = self._bind()
        inode = _inode(name)
        try:
            if not _linked(name, self.path):
                os.rename(name, self.path)
        except OSError as error:
            _discard(made, name)
            raise self._failure(error) from None
        self.socket.close()
        self.socket, self._inode = made, inode

    def publish(self) -> None:
        """Take the path. Raises SocketError if another server has taken it meanwhile, and ``take_over`` is not set."""
        if self._bound is None:
            return
        try:
            if self._take_over or not _linked(self._bound, self.path):
                os.rename(self._bound, self.path)
        except FileExistsError:
            _discard(self.socket, self._bound)
            raise _taken(self.path) from None
        except OSError as error:
            _discard(self.socket, self._bound)
            raise self._failure(error) from None
        self._bound = None

    @property
    def ours(self) -> bool:
        """Whether the path leads to this socket: not before it is published, nor when another server took it over."""
        return self._bound is None and self._inode is not None and _inode(self.path) == self._inode

    @property
    def taken_over(self) -> bool:
        """Whether the path leads to another server by now."""
        return self._bound is None and _inode(self.path) not in (None, self._inode)

    @property
    def gone(self) -> bool:
        """Whether somebody else removed the file: nobody can connect any more."""
        return self._bound is None and self._inode is not None and _inode(self.path) is None

    def remove(self) -> None:
        """Remove the file, unless the path is another server's by now; who has connected already is still accepted."""
        if self.ours:
            os.unlink(self.path)
        self._inode = None

    def close(self) -> None:
        """Stop listening, and remove the file as ``remove`` does."""
        self.remove()
        _discard(self.socket, self._bound)

    def _failure(self, error: OSError) -> SocketError:
        remedy = _REMEDIES.get(error.errno or 0, "")
        if self._group is not None and error.errno == errno.EPERM:
            remedy = ": only root or a member of the group can give it that group"
        return SocketError(f"can't create the socket {self.path}: {error.strerror or error}{remedy}")


def _discard(made: socket.socket, name: str | None) -> None:
    made.close()
    if name is not None:
        with contextlib.suppress(OSError):
            os.unlink(name)


def _linked(bound: str, path: str) -> bool:
    """Give the socket its path if nobody has it. Raises FileExistsError; false if the file system has no links."""
    try:
        os.link(bound, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            return False
        raise
    os.unlink(bound)
    return True


def _make_way(path: str, *, take_over: bool) -> None:
    """Remove a stale socket at ``path``; a live one stays, and is an error without ``take_over``."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "")
        raise SocketError(f"can't create the socket {path}: {error.strerror}{remedy}") from None
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketError(f"{path} exists and is no socket: choose another path, or remove it")
    if not _is_live(path):
        os.unlink(path)
    elif not take_over:
        raise _taken(path)


def _taken(path: str) -> SocketError:
    return SocketError(
        f"another server listens on {path}: stop it first, choose another path, or take it over with --replace"
    )


def _is_live(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A full backlog is a live server too, and no reason to wait.
        probe.setblocking(False)
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
