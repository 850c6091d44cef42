"""Writing files where others write too."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from request_callout.cli.dump import write_description
from request_callout.server.readiness import ReadyFile
from request_callout.server.whole_file import write_whole


@pytest.mark.parametrize(
    "write", [lambda path: ReadyFile(path).write(), lambda path: write_description(path, "msgpack")]
)
def test_a_link_of_anothers_leads_nowhere(tmp_path: Path, write: object) -> None:
    """Whoever knows the process's id, and what is written next, gets nothing of the server's user overwritten."""
    assert callable(write)
    mine = tmp_path / "mine"
    mine.write_text("mine")
    for name in ("file", f"file.{os.getpid()}"):
        (tmp_path / name).symlink_to(mine)
    write(str(tmp_path / "file"))
    assert mine.read_text() == "mine"
    assert not (tmp_path / "file").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", f"file.{os.getpid()}", "mine"]


def test_permissions_and_failures(tmp_path: Path) -> None:
    """The file has the permissions that the process gives; a failure leaves nothing behind."""
    mask = os.umask(0o027)
    try:
        write_whole(str(tmp_path / "file"), "ü")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(str(tmp_path / "folder"), "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
