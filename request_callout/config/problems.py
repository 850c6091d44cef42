"""What is wrong with a configuration: every problem at once, each with its path and a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration.

    ``path`` is in Kong's spelling, such as ``config.callouts[2].request.url`` (lists count from 1, as in Kong's
    own messages); ``message`` says what is wrong and what to do about it; ``line`` counts from 1 within the
    script or expression at ``path``, if the problem is inside one, and ``offset`` is the character of that value, from
    0. ``rule`` is the kind of the problem, of those that docs/validate.md lists. A ``warning`` is surely not meant but
    can be used, a ``note`` tells what can't be seen; neither is ever raised.
    """

    path: str
    message: str
    line: int | None = None
    rule: str = "value"
    offset: int | None = None
    level: Level = "error"

    def __str__(self) -> str:
        where = self.path if self.line is None else f"{self.path} (line {self.line})"
        return f"{where}: {self.message}"


class InvalidConfiguration(ValueError):
    """A configuration that cannot be used; ``problems`` has everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
