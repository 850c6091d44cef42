"""The parts of a trace as words of a terminal: what stands in it is anybody's text, and never more than text."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from request_callout.values import printable

_RESULTS = {
    "ok": "green",
    "skipped": "bright_black",
    "fallback": "yellow",
    "tolerated": "yellow",
    "cancelled": "bright_black",
    "exit": "cyan",
}
_OUTCOMES = {"proxied": "green", "answered": "cyan", "done": "green", "failed": "red"}


def what(one: dict[str, Any]) -> Text:
    """The request line, for people."""
    if one.get("url"):
        return Text(f"{plain(one.get('method'))} {plain(one['url'])}")
    if one.get("path") is None and one.get("background"):
        return Text("refresh in the background", "italic")
    query = f"?{plain(one['query'])}" if one.get("query") else ""
    return Text(f"{plain(one.get('method') or '?')} {plain(one.get('path') or '?')}{query}")


def outcome_of(one: dict[str, Any]) -> Text:
    """What became of a request."""
    outcome = plain(one.get("outcome"))
    status = "" if one.get("status") is None else f" {one['status']}"
    return Text(f"{outcome}{status}", _OUTCOMES.get(outcome, ""))


def title(one: dict[str, Any]) -> str:
    """What a callout is called, or that for one element."""
    return plain(one.get("name")) if one.get("index") is None else f"  item {one['index']}"


def name_of(entity: dict[str, Any]) -> str:
    """What a route is called."""
    return plain(entity.get("name") or entity.get("id"))


def result_style(one: dict[str, Any]) -> str:
    """The colour of what became of a callout."""
    return _RESULTS.get(str(one.get("result")), "red")


def number(value: Any) -> float:
    """A number, 0 for what is none."""
    return float(value) if isinstance(value, (int, float)) else 0.0


def plain(value: Any) -> str:
    """A text as a terminal may have it: nothing in it moves the cursor or changes colours."""
    return "" if value is None else printable(str(value))
