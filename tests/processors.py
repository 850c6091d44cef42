"""Time that a busy machine takes, to be left out where a test states how long something may take."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class Queued:
    """How long processes of one thread that wait for each other have been ready to run, without a processor to run on.

    Counted from when this is made, or from the start of a process that is named only later.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._before_s = {pid: _queued_s(pid) for pid in pids}

    def so_far_s(self, started: Iterable[int] = ()) -> float:
        """The sum."""
        before_s = {**dict.fromkeys(started, 0.0), **self._before_s}
        return sum(_queued_s(pid) - queued_s for pid, queued_s in before_s.items())


def _queued_s(pid: int) -> float:
    """What the kernel counts; nothing where it does not count."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0
