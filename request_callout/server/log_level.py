"""The level of the log while the server runs: LEVEL_SIGNAL makes it finer step by step, and then as it was."""

from __future__ import annotations

import logging

from request_callout.server import process

_log = logging.getLogger(__name__)


class LogLevel:
    """The level that was configured, and the finer ones to go through."""

    def __init__(self) -> None:
        configured = logging.getLogger().getEffectiveLevel()
        finer = [level for level in (logging.INFO, logging.DEBUG) if level < configured]
        self._levels = [configured, *finer]
        self._at = 0

    def step(self) -> str:
        """Log finer by one step in this process, after the finest as at the start; gives the level's name."""
        was = self._levels[self._at]
        self._at = (self._at + 1) % len(self._levels)
        level = self._levels[self._at]
        # Told while the finer of both holds: the line is there whichever way it goes.
        process.set_log_level(_name(min(was, level)))
        _log.info("the log's level is %s now (was %s)", _name(level), _name(was))
        process.set_log_level(_name(level))
        return _name(level)


def _name(level: int) -> str:
    return logging.getLevelName(level).lower()
