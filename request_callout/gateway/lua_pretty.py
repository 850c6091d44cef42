"""Error trees as text, in the form of Penlight's ``pretty.write`` that Kong's error messages have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from request_callout.lua.lexer import is_name


def pretty(value: Any, indent: str = "  ") -> str:
    """A tree of dicts (integer keys count from 1), lists, strings and numbers as a Lua table constructor.

    With ``indent`` empty all is on one line, without spaces.
    """
    writer = _Writer(indent)
    writer.write(value, "", "")
    return ("\n" if indent else "").join(writer.lines).removesuffix(",")


class _Writer:
    def __init__(self, step: str) -> None:
        self.lines: list[str] = []
        self._step = step
        self._assign = " = " if step else "="

    def write(self, value: Any, indent: str, prefix: str) -> None:
        """Write a value whose line starts with ``prefix`` and whose end stands at ``indent``."""
        if isinstance(value, list):
            value = dict(enumerate(value, 1))
        if not isinstance(value, Mapping):
            self.lines.append(f"{prefix}{_scalar(value)},")
            return
        self.lines.append(prefix + "{")
        below = indent + self._step
        in_sequence = 0
        while in_sequence + 1 in value:
            in_sequence += 1
            self.write(value[in_sequence], below, below)
        names = sorted(key for key in value if isinstance(key, str))
        numbers = sorted(key for key in value if isinstance(key, int) and not 1 <= key <= in_sequence)
        rest: list[str | int] = [*names, *numbers]
        for key in rest:
            self.write(value[key], below, f"{below}{_key(key)}{self._assign}")
        self.lines[-1] = self.lines[-1].removesuffix(",")
        self.lines.append(f"{indent}}},")


def _key(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return key if is_name(key) else f"[{_scalar(key)}]"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
