"""A configured value with expressions in it: ``Bearer $(callouts.auth.response.body.token)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from request_callout.lua.analysis import may_change_tables
from request_callout.lua.conversion import decode
from request_callout.lua.program import Program
from request_callout.values import Value, raw, text

if TYPE_CHECKING:
    from request_callout.config.template import Expression
    from request_callout.lua.context import LuaContext
    from request_callout.lua.runtime import Lua


class Template:
    """A value made of literal text and expressions, all computed in one call into Lua."""

    __slots__ = ("_alone", "_constant", "_program")

    def __init__(self, lua: Lua, parts: Sequence[str | Expression], where: str) -> None:
        self._alone = len(parts) == 1
        self._constant: str | None = None
        self._program: Program | None = None
        if all(isinstance(part, str) for part in parts):
            self._constant = "".join(str(part) for part in parts)
        else:
            self._program = Program(lua, [_compilable(part) for part in parts], where)

    def render(self, context: LuaContext) -> str:
        """The value as text: nil, false and null are empty, all else is as ``tostring`` gives it.

        Raises ScriptError, and whatever the context's host raises.
        """
        if self._program is None:
            return self._constant or ""
        return text(self._program.run(b"render", context) or b"")

    def value(self, context: LuaContext) -> Value:
        """The expression's own value where one stands alone, else as ``render``."""
        if self._program is None or not self._alone:
            return self.render(context)
        packed = self._program.run(b"value", context)
        return None if packed is None else decode(packed)


def _compilable(part: str | Expression) -> tuple[str, bytes]:
    if isinstance(part, str):
        return "text", raw(part)
    kind = "isolated" if may_change_tables(part.source) else "expression"
    if "_G" in part.source:
        kind += "_G"
    # Blank lines before the source make Lua count lines from the start of the whole value.
    return kind, b"\n" * (part.line - 1) + raw(part.source)
