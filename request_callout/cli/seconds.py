"""Options that are seconds: a number that clocks and timers take."""

from __future__ import annotations

import math
from typing import Any

import click

_A_DAY_S = 86400


class Seconds(click.FloatRange):
    """From 0 to a day, with fractions; ``above_0`` leaves out the 0."""

    def __init__(self, *, above_0: bool = False) -> None:
        super().__init__(min=0, max=_A_DAY_S, min_open=above_0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; click's range lets ``nan`` through, which no comparison finds."""
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return seconds
