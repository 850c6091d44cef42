"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result; ``remedy`` says what to do about a warning or problem."""

    check: str
    level: Level
    message: str
    remedy: str | None = None
