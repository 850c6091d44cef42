"""Configured values that may hold expressions, compiled once per configuration.

An expression that only follows a path (``callouts.auth.response.body.token``, ``headers.host``) is looked up in
Python; LuaJIT is asked for everything else, and for whatever a look-up can't answer, so that errors are Lua's own.
"""

from __future__ import annotations

from typing import Any, Protocol

from request_callout.config import template as templates
from request_callout.engine.json import lua_text
from request_callout.lua import Lua, LuaContext, Uses, analyse
from request_callout.values import Value

Path = tuple[str | int, ...]


class _Unknown:
    """A look-up that Python can't answer."""


UNKNOWN = _Unknown()


class Scope(Protocol):
    """Where expressions look."""

    def lookup(self, path: Path) -> Any:
        """The value at a path, or UNKNOWN."""

    def lua_for(self, uses: Uses) -> LuaContext:
        """The Lua side of the request, with everything in it that these uses read."""


class Text:
    """One configured value: constant, or with expressions."""

    __slots__ = ("_parts", "_template", "constant", "source", "uses", "where")

    def __init__(self, source: str, where: str, lua: Lua) -> None:
        parsed = templates.parse(source)
        expressions = [part for part in parsed.parts if not isinstance(part, str)]
        self.source = source
        self.where = where
        self.constant: str | None = None
        self.uses = merged([analyse(part.source, is_expression=True) for part in expressions])
        self._parts: tuple[str | Path, ...] | None = None
        if not expressions:
            self.constant = "".join(str(part) for part in parsed.parts)
            return
        self._template = lua.template(source, where)
        parts: list[str | Path] = []
        for part in parsed.parts:
            step = part if isinstance(part, str) else analyse(part.source, is_expression=True).path
            if step is None:
                return
            parts.append(step)
        self._parts = tuple(parts)

    def render(self, scope: Scope) -> str:
        """The value as text; raises ScriptError."""
        if self.constant is not None:
            return self.constant
        if self._parts is not None:
            pieces: list[str] = []
            for part in self._parts:
                piece = part if isinstance(part, str) else lua_text(scope.lookup(part))
                if piece is None:
                    break
                pieces.append(piece)
            else:
                return "".join(pieces)
        return self._template.render(scope.lua_for(self.uses))

    def value(self, scope: Scope) -> Value:
        """The value with its type, where one expression stands alone; else as text; raises ScriptError."""
        if self.constant is not None:
            return self.constant
        if self._parts is not None and len(self._parts) == 1 and not isinstance(self._parts[0], str):
            found = scope.lookup(self._parts[0])
            if found is not UNKNOWN:
                return found
        return self._template.value(scope.lua_for(self.uses))


def merged(uses: list[Uses]) -> Uses:
    """Everything that any of these reads."""
    return Uses(
        callouts=frozenset().union(*(one.callouts for one in uses)),
        all_callouts=any(one.all_callouts for one in uses),
        shortcuts=frozenset().union(*(one.shortcuts for one in uses)),
        path=None,
        element=any(one.element for one in uses),
    )
