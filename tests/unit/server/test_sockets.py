"""The listening socket's file."""

from __future__ import annotations

import os
import socket
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


@pytest.mark.parametrize(
    ("path", "remedy"), [("/no/such/folder/s", "its folder has to exist; make it"), ("/" + "x" * 200, "shorten it")]
)
def test_a_path_that_cannot_be_used_is_a_clear_error(path: str, remedy: str) -> None:
    """A folder that is missing, or a path that is too long, is an error with the path in it and the remedy."""
    with pytest.raises(SocketError, match=f"can't create the socket /.*{remedy}"):
        ListeningSocket(path)


def test_nobody_finds_the_socket_before_it_is_published(tmp_path: Path) -> None:
    """A socket that is not published yet has no file at its path; closed before, it leaves nothing behind."""
    path = str(tmp_path / "s")
    listening = ListeningSocket(path, publish=False)
    assert not os.path.exists(path)
    assert not listening.ours
    listening.publish()
    assert os.listdir(tmp_path) == ["s"]
    assert listening.ours
    listening.close()
    ListeningSocket(path, publish=False).close()
    assert os.listdir(tmp_path) == []


def test_of_two_that_start_at_once_one_gets_the_path(tmp_path: Path) -> None:
    """Whoever publishes first keeps the path; the other is refused, or takes it over if it may."""
    path = str(tmp_path / "s")
    first, second, third = (ListeningSocket(path, publish=False, take_over=take) for take in (False, False, True))
    first.publish()
    with pytest.raises(SocketError, match=r"another server listens on .*/s"):
        second.publish()
    assert first.ours
    third.publish()
    assert third.ours
    assert not first.ours
    first.close()
    assert os.listdir(tmp_path) == ["s"]
    third.close()


def test_the_file_belongs_to_the_group_asked_for(tmp_path: Path) -> None:
    """The socket gets the group and the permissions; a group that it can't get is a clear error."""
    group = os.getgroups()[-1] if os.getuid() else 12345
    path = str(tmp_path / "s")
    listening = ListeningSocket(path, 0o660, group=group)
    found = os.stat(path)
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, group)
    listening.close()
    if os.getuid():
        with pytest.raises(SocketError, match="Operation not permitted"):
            ListeningSocket(path, group=0)
    assert os.listdir(tmp_path) == []


def test_what_waits_for_the_socket_is_accepted_after_its_removal(tmp_path: Path) -> None:
    """After remove() nobody new connects, and who has connected before is still accepted."""
    path = str(tmp_path / "s")
    listening = ListeningSocket(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(path)
        listening.remove()
        assert not os.path.exists(path)
        accepted, _ = listening.socket.accept()
        accepted.close()
        assert client.recv(1) == b""
    listening.close()
