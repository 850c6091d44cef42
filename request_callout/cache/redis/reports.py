"""Log lines about one Redis: one a period for each kind of trouble, and one when that is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Literal, Protocol

from request_callout.cache.redis.failures import reason_of

_log = logging.getLogger(__name__)

PERIOD_S = 60.0
Kind = Literal["down", "writes", "command", "value"]


class Watch(Protocol):
    """Is told of each trouble, where the log has a line a period."""

    def redis_failed(self, target: str, kind: str) -> None:
        """Trouble of this kind."""

    def redis_answers(self, target: str) -> None:
        """It can be used again, or nobody uses it any more."""


class Reports:
    """Tells of the Redis that ``address`` names; in no line is any of the secrets."""

    def __init__(
        self,
        address: str,
        secret_texts: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
        watch: Watch | None = None,
    ) -> None:
        self._watch = watch
        self.address = address
        self._secrets = tuple(secret_texts)
        self._clock = clock
        self._told_at: dict[Kind, float] = {}
        self._not_over: set[Kind] = set()
        self._is_down = False

    def down(self, error: Exception) -> None:
        """It can't be used."""
        self._is_down = True
        self._trouble("down", "is not used until it answers again: %s", reason_of(error, self._secrets))

    def answers(self) -> None:
        """It can be used again."""
        self._over("down", "answers again")
        self._down_no_more()

    def forgotten(self) -> None:
        """Nobody uses it any more: whoever watches must not take it for down for ever."""
        self._down_no_more()

    def refuses_writes(self, error: Exception) -> None:
        """It can be read only."""
        self._trouble("writes", "takes no values: %s", reason_of(error, self._secrets))

    def takes_writes(self) -> None:
        """A value was written."""
        self._over("writes", "takes values again")

    def command_failed(self, error: Exception) -> None:
        """One command failed, which says nothing of the others."""
        self._trouble("command", "failed a command, which counts as a miss: %s", reason_of(error, self._secrets))

    def value(self, message: str, *args: object) -> None:
        """A value was not kept, or can't be read."""
        self._trouble("value", message, *args)

    def _down_no_more(self) -> None:
        if self._is_down and self._watch is not None:
            self._watch.redis_answers(self.address)
        self._is_down = False

    def _trouble(self, kind: Kind, message: str, *args: object) -> None:
        if self._watch is not None:
            self._watch.redis_failed(self.address, kind)
        now = self._clock()
        told_at = self._told_at.get(kind)
        if told_at is None or now - told_at >= PERIOD_S:
            self._told_at[kind] = now
            self._not_over.add(kind)
            _log.warning(f"the Redis cache (%s) {message}", self.address, *args)

    def _over(self, kind: Kind, message: str) -> None:
        if kind in self._not_over:  # a warning too: who read that it began has to read that it ended
            self._not_over.discard(kind)
            _log.warning(f"the Redis cache (%s) {message}", self.address)
