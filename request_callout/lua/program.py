"""What is compiled once per configuration and run many times: the parts of a script or a template."""

from __future__ import annotations

import itertools
import re
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from request_callout.lua.host import ScriptError
from request_callout.lua.state import RunFailed

if TYPE_CHECKING:
    from request_callout.lua.context import LuaContext
    from request_callout.lua.runtime import Lua

_POSITION = re.compile(r"line:(\d+): ?")
_numbers = itertools.count(1)


def readable(message: str) -> str:
    """Lua's message with its position in words."""
    return _POSITION.sub(r"line \1: ", message, count=1)


class Program:
    """Sources with their kinds, compiled in each state where they run for the first time there."""

    __slots__ = ("__weakref__", "_number", "_parts", "where")

    def __init__(self, lua: Lua, parts: Sequence[tuple[str, bytes]], where: str) -> None:
        self._parts = tuple(parts)
        self._number = next(_numbers)
        self.where = where
        weakref.finalize(self, lua.released.append, self._number)

    def run(self, kind: bytes, context: LuaContext) -> bytes | None:
        """Run it; raises ScriptError, and whatever the host raises to end the script."""
        state = context.state
        program = state.programs.get(self._number)
        try:
            if program is None:
                program = state.programs[self._number] = state.compile(self._parts)
            return state.run(kind, context.number, program, context.host, context.names, forgiving=context.forgiving)
        except RunFailed as error:
            raise ScriptError(self.where, readable(str(error))) from None
