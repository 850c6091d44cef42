"""The document of a tried request in a terminal, or in plain text when the output goes elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from request_callout.values import printable

_BAR_CELLS = 24
_MOST_LINES = 120
_RESULTS = {
    "ok": "green", "fallback": "yellow", "tolerated": "yellow", "skipped": "dim", "failed": "bold red",
    "refused": "bold red", "script_error": "bold red", "exit": "cyan", "cancelled": "dim", "error": "bold red",
}  # fmt: skip


def show(console: Console, told: Mapping[str, Any]) -> None:
    """Write it all."""
    shown = _Shown(console)
    request = told["request"]
    route, service = told["route"], told["service"]
    shown.heading("request")
    shown.line(f"{request['method']} {request['url']}")
    if route is not None:
        shown.line(f"route {route['name'] or route['id']}, service {service or '(none)'}", "dim")
    for number, problem in enumerate(told["problems"]):
        shown.line(problem if not number else f"  {problem}", "bold red" if told["outcome"] != "answered" else "yellow")
    if told["ran"]:
        shown.heading("callouts in time")
        shown.timeline(told)
        shown.heading("context (kong.ctx.shared.callouts)")
        shown.block(orjson.dumps(told["context"], option=orjson.OPT_INDENT_2).decode().splitlines())
    if told["outcome"] != "no route":
        shown.heading("upstream request")
        shown.upstream(told["upstream"])
    answer = told["answer"]
    by = "the upstream" if answer["by"] == "upstream" else "Kong or a plugin"
    shown.heading(f"answer: {answer['status']}, by {by}")
    shown.block([f"{name}: {value}" for name, value in answer["headers"]], "dim")
    if answer["body"]:
        shown.block(["", *answer["body"].splitlines()])
    if told["outcome"] != "answered" and told["log"]:
        shown.heading("log lines of the request")
        shown.block(told["log"])


class _Shown:
    def __init__(self, console: Console) -> None:
        self._console = console

    def heading(self, text: str) -> None:
        self._console.print(Text(f"\n{printable(text)}", style="bold cyan"))

    def line(self, text: str, style: str = "") -> None:
        self._console.print(Text(f"  {printable(text)}", style=style), soft_wrap=True)

    def block(self, lines: Sequence[str], style: str = "") -> None:
        for text in lines[:_MOST_LINES]:
            self._console.print(Text(f"  {printable(text)}", style=style), soft_wrap=True)
        if len(lines) > _MOST_LINES:
            self.line(f"… {len(lines) - _MOST_LINES} more lines; --output json has them all", "dim")

    def upstream(self, upstream: Mapping[str, Any] | None) -> None:
        if upstream is None:
            self.line("none: Kong or a plugin answered the client itself")
            return
        status = upstream["failure"] or f"status {upstream['status']}"
        self.line(f"{upstream['method']} {upstream['url']}: {status}, {upstream['duration_ms']:.0f} ms", "dim")
        if not upstream["diff"]:
            self.line("as the client sent it, but for the headers that Kong sets on every request")
            return
        styles = {"+": "green", "-": "red", "@": "cyan"}
        for text in upstream["diff"][:_MOST_LINES]:
            self._console.print(Text(f"  {printable(text)}", style=styles.get(text[:1], "")), soft_wrap=True)

    def timeline(self, told: Mapping[str, Any]) -> None:
        callouts = sorted(told["callouts"], key=lambda one: (one["started_ms"], one["ended_ms"]))
        if not callouts:
            self.line("none was made")
            return
        span = max(0.001, *(one["ended_ms"] for one in callouts))
        table = Table(box=None, show_header=False, pad_edge=False)
        for justify in ("right", "left", "right", "left", "left"):
            table.add_column(justify=justify, no_wrap=justify == "right")
        for one in callouts:
            name = one["name"] if one["index"] is None else f"{one['name']}, item {one['index']}"
            waited = told["waits_for"].get(one["name"]) if one["index"] is None else None
            words = [name, one["result"]]
            words += [f"status {one['status']}"] if one["status"] is not None else []
            words += [f"cache {one['cache']}"] if one["cache"] else []
            words += [f"{len(one['attempts'])} attempts"] if len(one["attempts"]) > 1 else []
            words += [f"waited for {', '.join(waited)}"] if waited else []
            table.add_row(*_row(one, span), Text(printable("; ".join(words)), style=_RESULTS.get(one["result"], "")))
            if one["failure"]:
                table.add_row("", "", "", Text(printable(one["failure"]), style="red"))
            for attempt in one["attempts"]:
                outcome = attempt.get("failure") or f"status {attempt.get('status', '-')}"
                text = f"{attempt['method']} {attempt['url']}: {outcome}"
                table.add_row(
                    *_row({"ended_ms": attempt["started_ms"], **attempt}, span),
                    Text(f"  {printable(text)}", style="dim"),
                )
        self._console.print(Padding.indent(table, 2))


def _row(one: Mapping[str, Any], span: float) -> tuple[Text, Text, Text]:
    begin = min(round(one["started_ms"] / span * (_BAR_CELLS - 1)), _BAR_CELLS - 1)
    end = min(max(begin + 1, round(one["ended_ms"] / span * _BAR_CELLS)), _BAR_CELLS)
    return (
        Text(f"{one['started_ms']:.0f} ms", style="dim"),
        Text(f"|{' ' * begin}{'=' * (end - begin)}{' ' * (_BAR_CELLS - end)}|", style="blue"),
        Text(f"{one['ended_ms'] - one['started_ms']:.0f} ms"),
    )
