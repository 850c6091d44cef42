"""What was measured, as tables on the terminal and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass
class Part:
    """One part of the benchmark: rows of figures; each figure is the median of its rounds."""

    title: str
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    note: str = ""

    def add(self, name: str, **figures: float) -> None:
        """Add a row; the names of figures say their units (``cpu_us``, ``events_per_s``)."""
        self.rows[name] = figures


def show(part: Part) -> None:
    """Print a part."""
    console = Console(highlight=False, width=140)
    if not part.rows:
        console.print(f"{part.title}\n{part.note}")
        return
    columns = list(dict.fromkeys(name for figures in part.rows.values() for name in figures))
    table = Table(title=part.title, title_justify="left", title_style="bold")
    table.add_column("")
    for column in columns:
        table.add_column(_heading(column), justify="right")
    for name, figures in part.rows.items():
        table.add_row(name, *(_number(figures[column]) if column in figures else "" for column in columns))
    console.print(table)
    if part.note:
        console.print(part.note)


def write_json(parts: dict[str, Part], path: Path) -> None:
    """Write all parts to a file."""
    path.write_text(json.dumps({key: asdict(part) for key, part in parts.items()}, indent=2) + "\n", encoding="utf-8")


def _heading(column: str) -> str:
    for end, unit in (("_per_s", "/s"), ("_us", " us"), ("_ms", " ms"), ("_mib", " MiB"), ("_ratio", " (ratio)")):
        if column.endswith(end):
            return column.removesuffix(end).replace("_", " ") + unit
    return column.replace("_", " ")


def _number(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 20 else f"{value:.2f}"
