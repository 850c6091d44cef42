"""The header ``Server-Timing``: what the callouts took, for the developer tools of a browser (W3C Server Timing)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

HEADER = "Server-Timing"
_TOTAL = "request-callout"
_MAX_CHARACTERS = 4000
_NOT_TOKEN = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")  # RFC 9110, section 5.6.2
_NOT_TEXT = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Metric:
    """What one thing took, and a word about it."""

    name: str
    ms: float
    description: str = ""

    def __str__(self) -> str:
        name = _NOT_TOKEN.sub("_", self.name) or "_"
        described = f";desc={_quoted(self.description)}" if self.description else ""
        return f"{name};dur={max(0.0, self.ms):.1f}{described}"


def server_timing(total_ms: float, metrics: Iterable[Metric]) -> str:
    """The header's value: the whole, then each callout; those that would make it longer than 4000 are left out."""
    value = str(Metric(_TOTAL, total_ms))
    for metric in metrics:
        more = f"{value}, {metric}"
        if len(more) > _MAX_CHARACTERS:
            break
        value = more
    return value


def _quoted(text: str) -> str:
    escaped = _NOT_TEXT.sub("?", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
