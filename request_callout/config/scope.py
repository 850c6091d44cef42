"""Which names an expression uses that are there only within a callout with ``for_each``."""

from __future__ import annotations

import re

ELEMENT_NAMES = ("item", "index")

# What a name is not: part of a comment or a string, a member, a key in a table's constructor.
_TOKEN = re.compile(
    r"""
    --\[(?P<comment>=*)\[.*?\](?P=comment)\] | --[^\n]*
  | \[(?P<string>=*)\[.*?\](?P=string)\] | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*'
  | \.\.\.? | [.:]\s*[A-Za-z_]\w* | [0-9][\w.]*
  | [A-Za-z_]\w*(?=\s*=(?!=))
  | (?P<name>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)


def element_names(source: str) -> list[str]:
    """Those of ``item`` and ``index`` that an expression reads; none if it may have its own of these names."""
    names = {token["name"] for token in _TOKEN.finditer(source)}
    return [] if "function" in names else [name for name in ELEMENT_NAMES if name in names]
