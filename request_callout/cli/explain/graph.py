"""The plan as a picture: an SVG made of a small plan that JSON can hold, with a row of boxes for each level.

``plan_svg`` takes what ``engine.plan.described`` gives, with more lines for each box if there are any. Everything is
escaped. The colours are those of ``STYLE``, which the page has to hold; they follow its ``prefers-color-scheme``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

STYLE = """
.plan{--band:#f0f3f7;--line:#8a94a6;--box:#fff;--edge:#c9d0dc;--ink:#1c2430;--quiet:#5a6577;--data:#1a5fb4;--bad:#b3261e;--good:#1e7b45;
font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;display:block;max-width:100%;height:auto}
@media(prefers-color-scheme:dark){.plan{--band:#151a22;--line:#77839a;--box:#1d2430;--edge:#3a4557;--ink:#e8ecf3;--quiet:#a3afc2;
--data:#8ab4f8;--bad:#ff8f85;--good:#7fd6a1}}
.plan text{fill:var(--ink)}.plan .quiet{fill:var(--quiet)}.plan .name{font-weight:600;font-size:15px}
.plan .why{fill:var(--data)}.plan .level{font-size:12px;paint-order:stroke;stroke:var(--band);stroke-width:6px}
.plan .band{fill:var(--band)}
.plan .box{fill:var(--box);stroke:var(--edge);stroke-width:1.25}
.plan .failed .box{stroke:var(--bad);stroke-width:2}.plan .ok .box{stroke:var(--good);stroke-width:2}
.plan .skipped .box{stroke-dasharray:5 4}.plan .end{fill:var(--box);stroke:var(--line);stroke-width:1.25}
.plan .way{fill:none;stroke:var(--line);stroke-width:1.5}.plan .way.data{stroke:var(--data);stroke-width:2}
.plan .way.order{stroke-dasharray:2 4}.plan .tip{fill:var(--line)}.plan .tip.data{fill:var(--data)}
@media print{.plan{--band:#f6f6f6;--line:#777;--box:#fff;--edge:#aaa;--ink:#000;
--quiet:#444;--data:#1a4f9c;--bad:#900;--good:#060}}
"""

_WIDTH = 270
_GUTTER = 34
_GAP = 18
_LABEL = 40
_BAND_PAD = 14
_LANE = 7
_APART = 20
_LINE = 18
_PAD = 14
_MOST_REASONS = 4
_CHARACTERS = 33
_NAME_CHARACTERS = 26
_PILL = 34
_MARGIN = 4
_CORNER = 7
_WHY = {"declared": "depends_on", "after_script": "after its script"}
_FOR_ALL = {"script": "← all before it: its script", "method": "← all before it: its method"}
_ORDER = frozenset({"script", "after_script", "method"})


@dataclass(slots=True)
class _Box:
    """One step where it is drawn; ``lines`` are texts with their classes."""

    step: Mapping[str, Any]
    lines: list[tuple[str, str]]
    row: int
    x: float = 0.0
    y: float = 0.0

    @property
    def height(self) -> float:
        return 2 * _PAD + 18 + _LINE * len(self.lines)


@dataclass(slots=True)
class _Edge:
    """A line between two boxes, by their places; None is the client's request, or what becomes of it."""

    source: int | None
    target: int | None
    kind: str


@dataclass(slots=True)
class _Drawing:
    """The boxes and lines; ``rows`` are places of boxes, ``lanes`` where lines run below a row, by row and source."""

    boxes: list[_Box]
    edges: list[_Edge]
    columns: int
    rows: list[list[int]] = field(default_factory=list)
    lanes: list[dict[int | None, float]] = field(default_factory=list)
    bands: list[tuple[float, float]] = field(default_factory=list)
    height: float = 0.0

    @property
    def width(self) -> float:
        return self.columns * _WIDTH + (self.columns + 1) * _GUTTER + 2 * _MARGIN


def plan_svg(
    steps: Sequence[Mapping[str, Any]],
    *,
    title: str,
    end: str = "the upstream request",
    begin: str = "the client's request",
    levels: Sequence[str] = (),
    columns: int = 3,
    ident: str = "plan",
) -> str:
    """The picture of a plan as the text of an ``svg`` element.

    Each step has ``name``, ``level`` and ``waits_for`` (of each ``name``, ``why`` and ``where``), as ``engine.plan``
    describes it, and may have ``lines`` (texts below the name) and ``state`` (``ok``, ``failed`` or ``skipped``).
    ``columns`` is how many boxes stand beside each other at most; ``ident`` begins the ids, which have to be unique in
    a page. ``begin`` and ``end`` name what is before the first and after the last, ``levels`` are labels of the levels.
    """
    drawing = _laid_out(steps, columns)
    boxes = (_drawn(box) for box in drawing.boxes)
    parts = [*_bands(drawing), *_ways(drawing), *_labels(drawing, levels), *boxes, *_ends(drawing, begin, end)]
    height = drawing.height
    return (
        f'<svg class="plan" viewBox="0 0 {drawing.width:.0f} {height:.0f}" width="{drawing.width:.0f}" '
        f'height="{height:.0f}" role="img" aria-labelledby="{escape(ident)}-t {escape(ident)}-d" '
        f'xmlns="http://www.w3.org/2000/svg"><title id="{escape(ident)}-t">{_text(title)}</title>'
        f'<desc id="{escape(ident)}-d">{_text(_told(steps))}</desc>{"".join(parts)}</svg>'
    )


def _told(steps: Sequence[Mapping[str, Any]]) -> str:
    """The picture in words."""
    sentences = []
    for step in steps:
        names = list(dict.fromkeys(str(one["name"]) for one in step["waits_for"]))
        sentences.append(f"{step['name']} {'waits for ' + ', '.join(names) if names else 'begins at once'}.")
    return " ".join(sentences) or "There are no callouts."


def _laid_out(steps: Sequence[Mapping[str, Any]], most: int) -> _Drawing:
    by_level: dict[int, list[int]] = {}
    for place, step in enumerate(steps):
        by_level.setdefault(int(step["level"]), []).append(place)
    columns = max(1, min(most, max((len(one) for one in by_level.values()), default=1)))
    drawing = _Drawing([_Box(step, _lines(step), 0) for step in steps], _edges(steps), columns)
    y = _with_lanes(drawing, [None], float(_MARGIN + _PILL))
    for level in sorted(by_level):
        places = by_level[level]
        top = y + _GAP
        y = top + _LABEL
        for first in range(0, len(places), columns):
            row = places[first : first + columns]
            y = _with_lanes(drawing, row, _placed(drawing, row, y + (_GAP if first else 0)))
            drawing.rows.append(row)
        bottom = max(drawing.boxes[place].y + drawing.boxes[place].height for place in drawing.rows[-1]) + _BAND_PAD
        drawing.bands.append((top, bottom))
        y = max(y, bottom)
    drawing.height = y + _GAP + _PILL + _MARGIN
    return drawing


def _placed(drawing: _Drawing, row: Sequence[int], top: float) -> float:
    """Put the boxes of a row beside each other; gives where the row ends."""
    left = (drawing.width - len(row) * _WIDTH - (len(row) - 1) * _GUTTER) / 2
    for column, place in enumerate(row):
        box = drawing.boxes[place]
        box.row, box.x, box.y = len(drawing.rows), left + column * (_WIDTH + _GUTTER), top
    return top + max(drawing.boxes[place].height for place in row)


def _with_lanes(drawing: _Drawing, row: Sequence[int | None], bottom: float) -> float:
    """Give each source of a row a lane of its own below it; gives where the lanes end."""
    sources = [one for one in row if any(edge.source == one for edge in drawing.edges)]
    drawing.lanes.append({one: bottom + _BAND_PAD + 8 + _LANE * number for number, one in enumerate(sources)})
    return bottom + _BAND_PAD + 8 + _LANE * max(0, len(sources) - 1)


def _edges(steps: Sequence[Mapping[str, Any]]) -> list[_Edge]:
    """What to draw: data always, an order only where no other line says it already."""
    names = {str(step["name"]): place for place, step in enumerate(steps)}
    awaited: list[set[int]] = []
    edges: list[_Edge] = []
    last = set(range(len(steps)))
    for place, step in enumerate(steps):
        whys: dict[int, set[str]] = {}
        for one in step["waits_for"]:
            if str(one["name"]) in names:
                whys.setdefault(names[str(one["name"])], set()).add(str(one["why"]))
        implied = set().union(*(awaited[other] for other in whys))
        awaited.append(implied | set(whys))
        last -= awaited[place]
        for other, why in whys.items():
            if not why <= _ORDER:
                edges.append(_Edge(other, place, "data"))
            elif other not in implied:
                edges.append(_Edge(other, place, "order"))
        if not whys:
            edges.append(_Edge(None, place, "flow"))
    return [*edges, *(_Edge(place, None, "flow") for place in sorted(last))]


def _lines(step: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [(_cut(str(line), _CHARACTERS), "quiet") for line in step.get("lines", ())]
    reasons: dict[str, str] = {}
    for_all = ""
    for one in step["waits_for"]:
        name, why = str(one["name"]), str(one["why"])
        if why in _FOR_ALL:
            for_all = _FOR_ALL[why]
            continue
        where = _WHY.get(why, str(one["where"]).removeprefix("request."))
        if name not in reasons or why not in _ORDER:
            reasons[name] = f"← {name}: {where}"
    shown = [*reasons.values(), *([for_all] if for_all else [])]
    lines += [(_cut(line, _CHARACTERS + 3), "why") for line in shown[:_MOST_REASONS]]
    if len(shown) > _MOST_REASONS:
        lines.append((f"… and {len(shown) - _MOST_REASONS} more", "why"))
    return lines


def _drawn(box: _Box) -> str:
    step = box.step
    state = step.get("state")
    css = f"step {state}" if state in ("ok", "failed", "skipped") else "step"
    full = "\n".join([str(step["name"]), *(str(line) for line in step.get("lines", ()))])
    parts = [
        f'<g class="{css}"><title>{_text(full)}</title>',
        f'<rect class="box" x="{box.x:.1f}" y="{box.y:.1f}" width="{_WIDTH}" height="{box.height:.1f}" rx="10"/>',
        _label(box.x + _PAD, box.y + _PAD + 13, _cut(str(step["name"]), _NAME_CHARACTERS), "name"),
    ]
    y = box.y + _PAD + 13
    for line, style in box.lines:
        y += _LINE
        parts.append(_label(box.x + _PAD, y, line, style))
    return "".join(parts) + "</g>"


def _ends(drawing: _Drawing, begin: str, end: str) -> Iterator[str]:
    middle = drawing.width / 2
    for text, y in ((begin, float(_MARGIN)), (end, drawing.height - _PILL - _MARGIN)):
        width = 7.2 * len(text) + 40
        left = middle - width / 2
        yield f'<rect class="end" x="{left:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_PILL}" rx="17"/>'
        yield f'<text x="{middle:.1f}" y="{y + 22:.1f}" text-anchor="middle">{_text(text)}</text>'


def _bands(drawing: _Drawing) -> Iterator[str]:
    """What is behind the boxes of a level."""
    for top, bottom in drawing.bands:
        size = f'x="{_MARGIN}" width="{drawing.width - 2 * _MARGIN:.1f}" y="{top:.1f}" height="{bottom - top:.1f}"'
        yield f'<rect class="band" {size} rx="12"/>'


def _labels(drawing: _Drawing, labels: Sequence[str]) -> Iterator[str]:
    for label, (top, _) in zip(labels, drawing.bands, strict=False):
        yield _label(_MARGIN + 12, top + 19, label, "quiet level")


def _ways(drawing: _Drawing) -> Iterator[str]:
    """The lines, those of data last: they are seen where lines cross."""
    entering: dict[int | None, list[_Edge]] = {}
    for edge in drawing.edges:
        entering.setdefault(edge.target, []).append(edge)
    for edge in sorted(drawing.edges, key=lambda one: one.kind == "data"):
        others = sorted(entering[edge.target], key=lambda one: _middle(drawing, one.source))
        offset = 0.0 if edge.target is None else (others.index(edge) - (len(others) - 1) / 2) * _APART
        yield _way(drawing, edge, offset)


def _middle(drawing: _Drawing, place: int | None) -> float:
    return drawing.width / 2 if place is None else drawing.boxes[place].x + _WIDTH / 2


def _way(drawing: _Drawing, edge: _Edge, offset: float) -> str:
    """One line; ``offset`` is how far beside the middle of its target it ends."""
    source = None if edge.source is None else drawing.boxes[edge.source]
    target = None if edge.target is None else drawing.boxes[edge.target]
    row = -1 if source is None else source.row
    x1, x2 = _middle(drawing, edge.source), _middle(drawing, edge.target) + offset
    y1 = _MARGIN + _PILL if source is None else source.y + source.height
    y2 = drawing.height - _PILL - _MARGIN if target is None else target.y
    below = drawing.lanes[row + 1][edge.source]
    last = len(drawing.rows) if target is None else target.row
    points = [(x1, y1), (x1, below)]
    if last > row + 1:  # past the rows between
        gutter = _gutter(drawing, x1, x2, range(row + 1, last), edge)
        above = y2 - 13 - abs(offset) / 8
        points += [(gutter, below), (gutter, above), (x2, above)]
    else:
        points.append((x2, below))
    points.append((x2, y2 - 6))
    kind = {"data": " data", "order": " order"}.get(edge.kind, "")
    tip = f'<path class="tip{" data" if edge.kind == "data" else ""}" d="M{x2:.1f} {y2:.1f}l-5 -8h10z"/>'
    return f'<path class="way{kind}" d="{_rounded(points)}"/>{tip}'


def _gutter(drawing: _Drawing, x1: float, x2: float, rows: range, edge: _Edge) -> float:
    """Where a line goes down past rows: straight on if nothing is in its way there, else between the boxes."""
    for x in (x2, x1):
        if not any(_is_in_the_way(drawing, x, one) for one in rows):
            return x
    shift = (edge.source if edge.source is not None else -1) % 4 * 6 - 9
    ways = [drawing.boxes[place].x - _GUTTER / 2 for one in rows for place in drawing.rows[one]]
    ways += [drawing.boxes[drawing.rows[one][-1]].x + _WIDTH + _GUTTER / 2 for one in rows]
    free = [way for way in ways if not any(_is_in_the_way(drawing, way, one) for one in rows)]
    return min(free or [_MARGIN + _GUTTER / 2], key=lambda way: abs(way - x1) + abs(way - x2)) + shift


def _is_in_the_way(drawing: _Drawing, x: float, row: int) -> bool:
    return any(box.row == row and box.x - 6 < x < box.x + _WIDTH + 6 for box in drawing.boxes)


def _rounded(points: Iterable[tuple[float, float]]) -> str:
    """A line through points whose corners are round."""
    corners: list[tuple[float, float]] = []
    for point in points:
        if not corners or abs(point[0] - corners[-1][0]) > 0.1 or abs(point[1] - corners[-1][1]) > 0.1:
            corners.append(point)
    path = [f"M{corners[0][0]:.1f} {corners[0][1]:.1f}"]
    for before, here, after in zip(corners, corners[1:], corners[2:], strict=False):
        enter, leave = _toward(here, before), _toward(here, after)
        path.append(f"L{enter[0]:.1f} {enter[1]:.1f}Q{here[0]:.1f} {here[1]:.1f} {leave[0]:.1f} {leave[1]:.1f}")
    path.append(f"L{corners[-1][0]:.1f} {corners[-1][1]:.1f}")
    return "".join(path)


def _toward(here: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """A point near ``here`` on the way to another."""
    across, down = other[0] - here[0], other[1] - here[1]
    length = max(abs(across), abs(down))
    step = min(_CORNER, length / 2) / length
    return here[0] + across * step, here[1] + down * step


def _label(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{_text(text)}</text>'


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _text(text: str) -> str:
    """A text as it may stand in XML: what no XML may hold is left out (XML 1.0, section 2.2)."""
    kept = "".join(one for one in text if one >= " " or one in "\n\t")
    return escape(kept.encode("utf-8", "replace").decode())
