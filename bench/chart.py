"""The chart of the README: bars as an SVG, without a library for it."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from bench.report import Part

_WIDTH, _LEFT, _BAR, _GAP, _TOP = 760, 250, 22, 8, 34
_OURS, _OTHERS = "#0b7285", "#adb5bd"


def draw(parts: dict[str, Part], path: Path) -> None:
    """Write the chart of what there is of ``events`` and ``native``."""
    groups = []
    if "events" in parts and parts["events"].rows:
        groups.append(("Events per second, 16 connections", _bars(parts["events"], "events_per_s", "16 connections")))
    if "native" in parts and parts["native"].rows:
        title = "Requests per second through nginx, 16 connections"
        groups.append((title, _bars(parts["native"], "requests_per_s", "16 connections")))
    path.write_text(svg(groups), encoding="utf-8")


def svg(groups: list[tuple[str, list[tuple[str, float]]]]) -> str:
    """Groups of bars, each with a scale of its own."""
    pieces, y = [], 10
    for title, bars in groups:
        pieces.append(f'<text x="0" y="{y + 14}" font-weight="bold">{escape(title)}</text>')
        y += _TOP
        largest = max(value for _, value in bars)
        for name, value in bars:
            width = max((_WIDTH - _LEFT - 80) * value / largest, 1)
            color = _OURS if name.startswith("request-callout") else _OTHERS
            middle = y + _BAR // 2 + 5
            pieces.append(f'<text x="{_LEFT - 10}" y="{middle}" text-anchor="end">{escape(name)}</text>')
            pieces.append(f'<rect x="{_LEFT}" y="{y}" width="{width:.0f}" height="{_BAR}" fill="{color}"/>')
            pieces.append(f'<text x="{_LEFT + width + 8:.0f}" y="{middle}">{value:,.0f}</text>')
            y += _BAR + _GAP
        y += 14
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}"'
    background = f'<rect width="{_WIDTH}" height="{y}" fill="white"/>'
    return "\n".join([f'{head} font-family="sans-serif" font-size="14">', background, *pieces, "</svg>", ""])


def _bars(part: Part, figure: str, ending: str) -> list[tuple[str, float]]:
    rows = [(name.removesuffix(f", {ending}"), row[figure]) for name, row in part.rows.items() if name.endswith(ending)]
    return sorted(rows, key=lambda row: -row[1])
