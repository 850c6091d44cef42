"""A ``by_lua`` field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from request_callout.lua.analysis import analyse, assigns_members, may_change_tables
from request_callout.lua.program import Program
from request_callout.values import raw

if TYPE_CHECKING:
    from request_callout.lua.context import LuaContext
    from request_callout.lua.runtime import Lua


class Script:
    """A script: it may change ``kong.ctx.shared`` and call every PDK function.

    ``only_reads`` says what it reads of the context, if its source shows that it changes none of it.
    """

    __slots__ = ("_program", "only_reads", "source", "where")

    def __init__(self, lua: Lua, source: str, where: str) -> None:
        self.source = source
        self.where = where
        kind = "script_G" if "_G" in source else "script"
        changes = may_change_tables(source) or assigns_members(source)
        self.only_reads = None if changes else analyse(source, is_expression=False)
        self._program = Program(lua, [(kind, raw(source))], where)

    def run(self, context: LuaContext) -> None:
        """Run it for one request.

        Raises ScriptError, and whatever the context's host raises to end the script.
        """
        self._program.run(b"script", context)
