from __future__ import annotations

import pytest

from request_callout.cache.redis.reports import PERIOD_S, Reports
from tests.unit.cache.redis.reaching import warned


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reports(clock: Clock) -> Reports:
    return Reports("there:6379", ["s3cret"], clock)


def test_one_line_a_period(reports: Reports, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """However often something fails, one line a period says so."""
    for _ in range(300):
        reports.down(OSError("broken"))
        clock.now_s += PERIOD_S / 100
    assert len(warned(caplog)) == 3


def test_one_line_when_it_is_over(reports: Reports, caplog: pytest.LogCaptureFixture) -> None:
    """The end of a trouble that was told of is told once; what was not told of has no end."""
    reports.answers()
    for _ in range(3):
        reports.down(OSError("broken"))
        reports.answers()
    assert warned(caplog) == [
        "the Redis cache (there:6379) is not used until it answers again: broken",
        "the Redis cache (there:6379) answers again",
    ]


def test_kinds_are_told_apart(reports: Reports, caplog: pytest.LogCaptureFixture) -> None:
    """A kind of trouble does not hide another, nor end it."""
    reports.down(OSError("broken"))
    reports.refuses_writes(OSError("full"))
    reports.command_failed(OSError("odd"))
    reports.value("holds %d things", 5)
    reports.takes_writes()
    told = [line.removeprefix("the Redis cache (there:6379) ") for line in warned(caplog)]
    assert told == [
        "is not used until it answers again: broken",
        "takes no values: full",
        "failed a command, which counts as a miss: odd",
        "holds 5 things",
        "takes values again",
    ]


def test_no_secret_is_told(reports: Reports, caplog: pytest.LogCaptureFixture) -> None:
    """The secrets of the settings are hidden in every line."""
    reports.down(OSError("s3cret"))
    reports.refuses_writes(OSError("s3cret"))
    reports.command_failed(OSError("s3cret"))
    assert len(warned(caplog)) == 3
    assert "s3cret" not in caplog.text
