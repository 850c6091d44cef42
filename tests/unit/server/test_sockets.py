"""The listening socket's file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from request_callout.server.sockets import ListeningSocket, SocketError


def test_the_file_has_its_permissions_and_goes_with_the_server(tmp_path: Path) -> None:
    """The socket is created with the mode asked for whatever the umask, and removed when it is closed."""
    path = str(tmp_path / "s")
    before = os.umask(0o077)
    try:
        listening = ListeningSocket(path, 0o660)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    listening.close()
    listening.close()
    assert os.listdir(tmp_path) == []


def test_a_live_socket_is_refused_and_can_be_taken_over(tmp_path: Path) -> None:
    """A path where somebody listens is refused by name; a take-over replaces it and survives the other's end."""
    path = str(tmp_path / "s")
    first = ListeningSocket(path)
    with pytest.raises(SocketError, match=r"another server listens on .*/s"):
        ListeningSocket(path)
    second = ListeningSocket(path, take_over=True)
    first.close()
    assert os.listdir(tmp_path) == ["s"]
    second.close()
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """A regular file at the path is refused and kept."""
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(SocketError, match="no socket"):
        ListeningSocket(str(path), take_over=True)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("path", ["/no/such/folder/s", "/" + "x" * 200])
def test_a_path_that_cannot_be_used_is_a_clear_error(path: str) -> None:
    """A folder that is missing, or a path that is too long, is an error with the path in it."""
    with pytest.raises(SocketError, match="can't create the socket /"):
        ListeningSocket(path)
