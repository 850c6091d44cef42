"""The Lua runtime of a process: compiles what configurations hold, and gives each request its Lua side."""

from __future__ import annotations

import itertools
import re

from request_callout.config import template as templates
from request_callout.config.settings import LuaSettings
from request_callout.lua.analysis import problem_of_expression
from request_callout.lua.context import LuaContext
from request_callout.lua.host import Host, ScriptError
from request_callout.lua.script import Script
from request_callout.lua.state import State
from request_callout.lua.template import Template
from request_callout.values import raw

OFF = "Lua is switched off on this server (untrusted_lua = off)"
_BYTECODE = b"\x1b"
_SYNTAX_ERROR = re.compile(r"line:(\d+): (.*)", re.DOTALL)


class Lua:
    """One in a process. Not to be shared between threads; greenlets may use it at once."""

    def __init__(self, settings: LuaSettings | None = None) -> None:
        self.settings = settings or LuaSettings()
        self.released: list[int] = []
        self._state: State | None = None
        self._contexts = itertools.count(1)

    def state(self) -> State:
        """The state for a new request: a fresh one if the last ran out of memory."""
        state = self._state
        if state is None or state.worn:
            state = self._state = State(self.settings)
        while self.released:
            program = state.programs.pop(self.released.pop(), None)
            if program is not None:
                state.release(program)
        return state

    def check(self, source: str, is_expression: bool) -> list[tuple[int, str]]:
        """What is wrong with a source: lines, counted from 1 within it, and messages. Empty if it compiles."""
        if self.settings.untrusted_lua == "off":
            return [(1, OFF)]
        data = raw(source)
        if data.startswith(_BYTECODE):
            return [(1, "compiled Lua is not accepted, only its source")]
        if is_expression and (problem := problem_of_expression(source)) is not None:
            return [(1, problem)]
        message = self.state().check(data, is_expression=is_expression)
        if message is None:
            return []
        found = _SYNTAX_ERROR.fullmatch(message)
        if found is None:
            return [(1, message)]
        return [(min(int(found[1]), source.count("\n") + 1), found[2])]

    def script(self, source: str, where: str) -> Script:
        """A ``by_lua`` field, ready to run; ``where`` is its path, for messages. Raises ScriptError if it is wrong."""
        self._refuse(self.check(source, is_expression=False), where)
        return Script(self, source, where)

    def template(self, value: str, where: str) -> Template:
        """A value that may hold expressions; ``where`` is its path, for messages. Raises ScriptError if it is wrong."""
        try:
            parts = templates.parse(value).parts
        except templates.TemplateError as error:
            raise ScriptError(where, str(error)) from None
        for part in parts:
            if not isinstance(part, str):
                problems = self.check(part.source, is_expression=True)
                self._refuse([(line + part.line - 1, message) for line, message in problems], where)
        return Template(self, parts, where)

    def context(self, host: Host) -> LuaContext:
        """The Lua side of one proxied request. Close it when the request is done."""
        return LuaContext(self, host, next(self._contexts))

    @staticmethod
    def _refuse(problems: list[tuple[int, str]], where: str) -> None:
        if problems:
            line, message = problems[0]
            raise ScriptError(where, f"line {line}: {message}")
