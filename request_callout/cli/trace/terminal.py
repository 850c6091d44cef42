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

from request_callout.cli.trace.waterfall import waterfall
from request_callout.cli.trace.words import name_of, number, outcome_of, plain, result_style, title, what

_WORSE = 400
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
            callouts.append(plain(callout.get("name")), result_style(callout))
        table.add_row(
            time.strftime("%H:%M:%S", time.localtime(number(one.get("at")))),
            plain(one.get("id")),
            what(one),
            outcome_of(one),
            f"{number(one.get('duration_ms')):.1f}",
            callouts,
        )
    return table


def shown(record: dict[str, Any], width: int) -> RenderableType:
    """One trace, in a terminal of this many columns."""
    return Group(
        *_heading(record),
        Text(),
        *waterfall(record, width),
        *_waits(record),
        *_details(record),
    )


def _heading(record: dict[str, Any]) -> Iterator[RenderableType]:
    request = record.get("request") or {}
    head = what({**request, "background": record.get("background")})
    head.stylize("bold")
    yield Text.assemble(head, "  ", outcome_of(record), f"  {number(record.get('duration_ms')):.1f} ms")
    at = number(record.get("at"))
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03d}"
    facts = [moment, f"trace {plain(record.get('id'))}", f"request {plain(record.get('request_id'))}"]
    facts += [f"route {name_of(record['route'])}"] if record.get("route") else []
    facts += [f"plugin {plain(record.get('plugin'))}", f"worker {plain(record.get('worker'))}"]
    yield Text("  ".join(facts), "bright_black")
    if record.get("failure"):
        yield Text(plain(record["failure"]), "bold red")
    if record.get("cut"):
        yield Text("Something is left out: the record of a trace has room for 60 KiB.", "yellow")


def _waits(record: dict[str, Any]) -> Iterator[RenderableType]:
    lines = []
    for step in record.get("plan") or ():
        for wait in step.get("waits_for") or ():
            why = _WHY.get(wait.get("why"), plain(wait.get("why")))
            lines.append(f"{plain(step['name'])} waits for {plain(wait['name'])}: {why} ({plain(wait.get('where'))})")
    if lines:
        yield from _section("Plan", [Text(line) for line in lines])


def _details(record: dict[str, Any]) -> Iterator[RenderableType]:
    yield from _section("Client's request", list(_message(record.get("request") or {})))
    for one in record.get("callouts") or ():
        parts: list[RenderableType] = []
        if one.get("failure"):
            parts.append(Text(plain(one["failure"]), "red"))
        for place, attempt in enumerate(one.get("attempts") or (), 1):
            parts += _attempt(place, attempt)
        if one.get("response"):
            parts.append(Text(f"without an attempt: {plain(one.get('cache') or one.get('result'))}", "cyan"))
            parts += _message(one["response"])
        if parts:
            yield from _section(f"Callout {title(one).strip()}", parts)
    edits = [_edit(edit) for edit in record.get("upstream") or ()]
    if edits:
        yield from _section("Changed on the way to the upstream", edits)
    if record.get("answer"):
        yield from _section("Answer to the client", list(_message(record["answer"])))
    yield from _section("Server-Timing", [Text(plain(record.get("server_timing")))])


def _attempt(place: int, attempt: dict[str, Any]) -> Iterator[RenderableType]:
    span = f"{number(attempt.get('start_ms')):.1f} to {number(attempt.get('end_ms')):.1f} ms"
    yield Text(f"attempt {place}, {span}", "bright_black")
    yield from _message(attempt.get("request") or {}, "→ ")
    if attempt.get("error"):
        yield Text(f"← {plain(attempt['error'])}", "red")
    if attempt.get("response"):
        yield from _message(attempt["response"], "← ")


def _message(message: dict[str, Any], mark: str = "") -> Iterator[RenderableType]:
    if message.get("status") is not None:
        status = message["status"]
        yield Text(f"{mark}{status}", "red" if number(status) >= _WORSE else "green")
    elif message.get("method") or message.get("url"):
        yield Text(f"{mark}{what(message).plain}", "bold")
    for name, value in message.get("headers") or ():
        yield Text.assemble("  ", (plain(name), "cyan"), f": {plain(value)}")
    yield from _body(message.get("body"))


def _body(body: dict[str, Any] | None) -> Iterator[RenderableType]:
    if not body:
        return
    size = "" if body.get("bytes") is None else f"{body['bytes']} bytes"
    notes = [note for note in (size, body.get("note"), "cut" if body.get("cut") else None) if note]
    yield Text(f"  {', '.join(map(plain, notes))}", "bright_black")
    if body.get("text"):
        yield Padding(Text("\n".join(map(plain, str(body["text"]).splitlines()))), (0, 0, 0, 2))


def _edit(edit: dict[str, Any]) -> Text:
    line = Text(plain(edit.get("what")))
    if edit.get("name"):
        line.append(f" {plain(edit['name'])}", "cyan")
    if edit.get("value") is not None:
        line.append(f": {plain(edit['value'])}")
    if edit.get("body"):
        line.append(f": {plain(edit['body'].get('text') or edit['body'].get('note'))}")
    return line


def _section(title: str, lines: Sequence[RenderableType]) -> Iterator[RenderableType]:
    yield Text()
    yield Text(title, "bold underline")
    yield from lines
