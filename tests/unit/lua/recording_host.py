"""A host that answers from tables and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from request_callout.config.settings import LuaSettings
from request_callout.lua import Lua, LuaContext
from request_callout.lua.host import PdkError, Shortcut
from request_callout.values import Value


class RecordingHost:
    """Answers calls by name: a value, a function of the arguments, or an exception to raise."""

    def __init__(self, answers: dict[str, Any] | None = None, **shortcuts: Value) -> None:
        self.answers = answers or {}
        self.shortcuts = shortcuts
        self.calls: list[tuple[str, list[Value]]] = []
        self.shared: dict[str, Value] = {}

    def call(self, method: str, args: Sequence[Value]) -> Value:
        self.calls.append((method, list(args)))
        if method == "kong.ctx.shared.get":
            return self.shared.get(args[0])
        if method == "kong.ctx.shared.set":
            self.shared[args[0]] = args[1]
            return None
        answer = self.answers.get(method)
        if isinstance(answer, BaseException):
            raise answer
        if callable(answer):
            made: Callable[..., Value] = answer
            return made(*args)
        if answer is None and method not in self.answers:
            raise PdkError(f"{method} is not available")
        return answer

    def shortcut(self, name: Shortcut) -> Value:
        self.calls.append((name, []))
        return self.shortcuts.get(name)

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


class Bench:
    """A runtime with one context on a recording host."""

    def __init__(self, answers: dict[str, Any] | None = None, lua: Lua | None = None, **options: Any) -> None:
        shortcuts = {name: options.pop(name) for name in ("headers", "query_params", "uri_captures") if name in options}
        self.lua = lua or Lua(LuaSettings(**options))
        self.host = RecordingHost(answers, **shortcuts)
        self.context: LuaContext = self.lua.context(self.host)
        self.context.set(("callouts",), {})

    def script(self, source: str) -> None:
        self.lua.script(source, "by_lua").run(self.context)

    def result(self, source: str) -> Value:
        """What a script leaves in ``kong.ctx.shared.callouts.result``; ``source`` is a function's body."""
        self.script(f"kong.ctx.shared.callouts.result = (function() {source}\nend)()")
        return self.context.get(("callouts", "result"))

    def render(self, template: str) -> str:
        return self.lua.template(template, "field").render(self.context)

    def value(self, template: str) -> Value:
        return self.lua.template(template, "field").value(self.context)
