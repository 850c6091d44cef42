"""The callouts of a trace as bars in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from request_callout.cli.trace.words import number, plain, result_style, title

_WORSE = 400
_NARROWEST_BAR = 12


def waterfall(record: dict[str, Any], width: int) -> Iterator[Text]:
    """A row a callout, in a terminal of this many columns: when it ran, and its attempts."""
    callouts = record.get("callouts") or []
    if not callouts:
        yield Text("No callout was made.", "bright_black")
        return
    labels = [_label(one) for one in callouts]
    names = [title(one) for one in callouts]
    name_width = min(max(map(len, names)), max(10, width // 4))
    label_width = max(label.cell_len for label in labels)
    bar_width = max(_NARROWEST_BAR, width - name_width - label_width - 6)
    whole_ms = max([number(record.get("duration_ms")), *(number(one.get("end_ms")) for one in callouts), 0.001])
    yield _axis(name_width, bar_width, whole_ms)
    for one, name, label in zip(callouts, names, labels, strict=True):
        cut = name if len(name) <= name_width else f"{name[: name_width - 1]}…"
        row = Text(cut.ljust(name_width), "bold" if one.get("index") is None else "")
        row.append(" │")
        row.append_text(_bar(one, bar_width, whole_ms))
        row.append("│ ")
        row.append_text(label)
        yield row


def _axis(name_width: int, bar_width: int, whole_ms: float) -> Text:
    end, middle = f"{whole_ms:.1f} ms", f"{whole_ms / 2:.1f}"
    room = bar_width - len(end) - 1
    line = "0" + (middle.center(room) if room > len(middle) else " " * max(0, room)) + end
    return Text(" " * (name_width + 2) + line, "bright_black")


def _bar(one: dict[str, Any], width: int, whole_ms: float) -> Text:
    """Dots while it waits for others, a line for its own time, blocks for attempts."""
    start, end = _span(one, width, whole_ms)
    cells = [("·", "bright_black")] * start + [("━", result_style(one))] * (end - start)
    cells += [(" ", "")] * (width - len(cells))
    for turn, attempt in enumerate(one.get("attempts") or ()):
        begun, ended = _span(attempt, width, whole_ms)
        style = "red" if _went_wrong(attempt) else result_style(one)
        for place in range(begun, ended):
            cells[place] = ("█" if turn % 2 == 0 else "▓", style)
    if one.get("cache") in ("hit", "stale", "coalesced") and not one.get("attempts"):
        cells[start] = ("◆", "cyan")
    bar = Text()
    for character, style in cells:
        bar.append(character, style)
    return bar


def _span(one: dict[str, Any], width: int, whole_ms: float) -> tuple[int, int]:
    start = min(width - 1, int(number(one.get("start_ms")) / whole_ms * width))
    end = min(width, max(start + 1, round(number(one.get("end_ms")) / whole_ms * width)))
    return start, end


def _label(one: dict[str, Any]) -> Text:
    took = number(one.get("end_ms")) - number(one.get("start_ms"))
    words = [f"{took:.1f} ms"]
    words += [str(one["status"])] if one.get("status") is not None else []
    words += [f"{one['items']} items"] if one.get("items") is not None else []
    attempts = len(one.get("attempts") or ())
    words += [f"{attempts} attempts"] if attempts > 1 else []
    words += [f"cache {one['cache']}"] if one.get("cache") else []
    label = Text(plain("  ".join(words)))
    if one.get("result") != "ok":
        label.append(f"  {plain(one.get('result'))}", result_style(one))
    return label


def _went_wrong(attempt: dict[str, Any]) -> bool:
    return bool(attempt.get("error")) or number((attempt.get("response") or {}).get("status")) >= _WORSE
