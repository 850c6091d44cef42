"""Traces in the terminal: the list, and one request as a waterfall with all that was sent and received.

What stands in a trace is anybody's text: it is shown without control characters and never read as markup.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_RESULTS = {
    "ok": "green",
    "skipped": "bright_black",
    "fallback": "yellow",
    "tolerated": "yellow",
    "cancelled": "bright_black",
    "exit": "cyan",
}
_OUTCOMES = {"proxied": "green", "answered": "cyan", "done": "green", "failed": "red"}
_WORSE = 400
_NARROWEST_BAR = 12
_WHY = {
    "declared": "depends_on names it",
    "reads": "it reads it",
    "may_read": "it may read it",
    "script": "it has a script",
    "after_script": "that has a script",
    "method": "its method may change something",
}


def console() -> Console:
    """The terminal, without guesses at what in a text might be worth a colour."""
    return Console(highlight=False, markup=False, emoji=False)


def listed(summaries: Iterable[dict[str, Any]]) -> RenderableType:
    """The list of traces, newest first."""
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    table.add_column("Time", no_wrap=True)
    table.add_column("ID", no_wrap=True, style="bold")
    table.add_column("Request", ratio=3, overflow="fold")
    table.add_column("Outcome", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("Callouts", ratio=2, overflow="fold")
    for one in summaries:
        callouts = Text()
        for callout in one.get("callouts") or ():
            callouts.append(" " if callouts else "")
            callouts.append(_plain(callout.get("name")), _result_style(callout))
        table.add_row(
            time.strftime("%H:%M:%S", time.localtime(_number(one.get("at")))),
            _plain(one.get("id")),
            _what(one),
            _outcome(one),
            f"{_number(one.get('duration_ms')):.1f}",
            callouts,
        )
    return table


def shown(record: dict[str, Any], width: int) -> RenderableType:
    """One trace, in a terminal of this many columns."""
    return Group(
        *_heading(record),
        Text(),
        *_waterfall(record, width),
        *_waits(record),
        *_details(record),
    )


def _heading(record: dict[str, Any]) -> Iterator[RenderableType]:
    request = record.get("request") or {}
    head = _what({**request, "background": record.get("background")})
    head.stylize("bold")
    yield Text.assemble(head, "  ", _outcome(record), f"  {_number(record.get('duration_ms')):.1f} ms")
    at = _number(record.get("at"))
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03d}"
    facts = [moment, f"trace {_plain(record.get('id'))}", f"request {_plain(record.get('request_id'))}"]
    facts += [f"route {_name(record['route'])}"] if record.get("route") else []
    facts += [f"plugin {_plain(record.get('plugin'))}", f"worker {_plain(record.get('worker'))}"]
    yield Text("  ".join(facts), "bright_black")
    if record.get("failure"):
        yield Text(_plain(record["failure"]), "bold red")
    if record.get("cut"):
        yield Text("Something is left out: the record of a trace has room for 60 KiB.", "yellow")


def _waterfall(record: dict[str, Any], width: int) -> Iterator[Text]:
    callouts = record.get("callouts") or []
    if not callouts:
        yield Text("No callout was made.", "bright_black")
        return
    labels = [_label(one) for one in callouts]
    names = [_title(one) for one in callouts]
    name_width = min(max(map(len, names)), max(10, width // 4))
    label_width = max(label.cell_len for label in labels)
    bar_width = max(_NARROWEST_BAR, width - name_width - label_width - 6)
    whole_ms = max([_number(record.get("duration_ms")), *(_number(one.get("end_ms")) for one in callouts), 0.001])
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
    cells = [("·", "bright_black")] * start + [("━", _result_style(one))] * (end - start)
    cells += [(" ", "")] * (width - len(cells))
    for number, attempt in enumerate(one.get("attempts") or ()):
        begun, ended = _span(attempt, width, whole_ms)
        style = "red" if _went_wrong(attempt) else _result_style(one)
        for place in range(begun, ended):
            cells[place] = ("█" if number % 2 == 0 else "▓", style)
    if one.get("cache") in ("hit", "stale", "coalesced") and not one.get("attempts"):
        cells[start] = ("◆", "cyan")
    bar = Text()
    for character, style in cells:
        bar.append(character, style)
    return bar


def _span(one: dict[str, Any], width: int, whole_ms: float) -> tuple[int, int]:
    start = min(width - 1, int(_number(one.get("start_ms")) / whole_ms * width))
    end = min(width, max(start + 1, round(_number(one.get("end_ms")) / whole_ms * width)))
    return start, end


def _label(one: dict[str, Any]) -> Text:
    took = _number(one.get("end_ms")) - _number(one.get("start_ms"))
    words = [f"{took:.1f} ms"]
    words += [str(one["status"])] if one.get("status") is not None else []
    words += [f"{one['items']} items"] if one.get("items") is not None else []
    attempts = len(one.get("attempts") or ())
    words += [f"{attempts} attempts"] if attempts > 1 else []
    words += [f"cache {one['cache']}"] if one.get("cache") else []
    label = Text(_plain("  ".join(words)))
    if one.get("result") != "ok":
        label.append(f"  {_plain(one.get('result'))}", _result_style(one))
    return label


def _waits(record: dict[str, Any]) -> Iterator[RenderableType]:
    lines = []
    for step in record.get("plan") or ():
        for wait in step.get("waits_for") or ():
            why = _WHY.get(wait.get("why"), _plain(wait.get("why")))
            lines.append(
                f"{_plain(step['name'])} waits for {_plain(wait['name'])}: {why} ({_plain(wait.get('where'))})"
            )
    if lines:
        yield from _section("Plan", [Text(line) for line in lines])


def _details(record: dict[str, Any]) -> Iterator[RenderableType]:
    yield from _section("Client's request", list(_message(record.get("request") or {})))
    for one in record.get("callouts") or ():
        parts: list[RenderableType] = []
        if one.get("failure"):
            parts.append(Text(_plain(one["failure"]), "red"))
        for number, attempt in enumerate(one.get("attempts") or (), 1):
            parts += _attempt(number, attempt)
        if one.get("response"):
            parts.append(Text(f"without an attempt: {_plain(one.get('cache') or one.get('result'))}", "cyan"))
            parts += _message(one["response"])
        if parts:
            yield from _section(f"Callout {_title(one).strip()}", parts)
    edits = [_edit(edit) for edit in record.get("upstream") or ()]
    if edits:
        yield from _section("Changed on the way to the upstream", edits)
    if record.get("answer"):
        yield from _section("Answer to the client", list(_message(record["answer"])))
    yield from _section("Server-Timing", [Text(_plain(record.get("server_timing")))])


def _attempt(number: int, attempt: dict[str, Any]) -> Iterator[RenderableType]:
    span = f"{_number(attempt.get('start_ms')):.1f} to {_number(attempt.get('end_ms')):.1f} ms"
    yield Text(f"attempt {number}, {span}", "bright_black")
    yield from _message(attempt.get("request") or {}, "→ ")
    if attempt.get("error"):
        yield Text(f"← {_plain(attempt['error'])}", "red")
    if attempt.get("response"):
        yield from _message(attempt["response"], "← ")


def _message(message: dict[str, Any], mark: str = "") -> Iterator[RenderableType]:
    if message.get("status") is not None:
        status = message["status"]
        yield Text(f"{mark}{status}", "red" if _number(status) >= _WORSE else "green")
    elif message.get("method") or message.get("url"):
        yield Text(f"{mark}{_what(message).plain}", "bold")
    for name, value in message.get("headers") or ():
        yield Text.assemble("  ", (_plain(name), "cyan"), f": {_plain(value)}")
    yield from _body(message.get("body"))


def _body(body: dict[str, Any] | None) -> Iterator[RenderableType]:
    if not body:
        return
    size = "" if body.get("bytes") is None else f"{body['bytes']} bytes"
    notes = [note for note in (size, body.get("note"), "cut" if body.get("cut") else None) if note]
    yield Text(f"  {', '.join(map(_plain, notes))}", "bright_black")
    if body.get("text"):
        yield Padding(Text("\n".join(map(_plain, str(body["text"]).splitlines()))), (0, 0, 0, 2))


def _edit(edit: dict[str, Any]) -> Text:
    line = Text(_plain(edit.get("what")))
    if edit.get("name"):
        line.append(f" {_plain(edit['name'])}", "cyan")
    if edit.get("value") is not None:
        line.append(f": {_plain(edit['value'])}")
    if edit.get("body"):
        line.append(f": {_plain(edit['body'].get('text') or edit['body'].get('note'))}")
    return line


def _section(title: str, lines: Sequence[RenderableType]) -> Iterator[RenderableType]:
    yield Text()
    yield Text(title, "bold underline")
    yield from lines


def _what(one: dict[str, Any]) -> Text:
    if one.get("url"):
        return Text(f"{_plain(one.get('method'))} {_plain(one['url'])}")
    if one.get("path") is None and one.get("background"):
        return Text("refresh in the background", "italic")
    query = f"?{_plain(one['query'])}" if one.get("query") else ""
    return Text(f"{_plain(one.get('method') or '?')} {_plain(one.get('path') or '?')}{query}")


def _outcome(one: dict[str, Any]) -> Text:
    outcome = _plain(one.get("outcome"))
    status = "" if one.get("status") is None else f" {one['status']}"
    return Text(f"{outcome}{status}", _OUTCOMES.get(outcome, ""))


def _title(one: dict[str, Any]) -> str:
    return _plain(one.get("name")) if one.get("index") is None else f"  item {one['index']}"


def _name(entity: dict[str, Any]) -> str:
    return _plain(entity.get("name") or entity.get("id"))


def _result_style(one: dict[str, Any]) -> str:
    return _RESULTS.get(str(one.get("result")), "red")


def _went_wrong(attempt: dict[str, Any]) -> bool:
    return bool(attempt.get("error")) or _number((attempt.get("response") or {}).get("status")) >= _WORSE


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _plain(value: Any) -> str:
    """A text as a terminal may have it: nothing in it moves the cursor or changes colours."""
    text = "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
