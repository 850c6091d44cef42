"""The Lua side of one proxied request: its tables, and the state that they live in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from request_callout.lua.conversion import encode
from request_callout.lua.host import Host, ScriptError
from request_callout.lua.state import RunFailed
from request_callout.values import Value, raw

if TYPE_CHECKING:
    from request_callout.lua.runtime import Lua
    from request_callout.lua.state import State


class LuaContext:
    """``kong.ctx.shared`` and ``kong.ctx.plugin`` of one proxied request; bound to a state when first used."""

    __slots__ = ("_closed", "_lua", "_state", "forgiving", "host", "names", "number")

    def __init__(self, lua: Lua, host: Host, number: int) -> None:
        self._lua = lua
        self._state: State | None = None
        self._closed = False
        self.host = host
        self.number = number
        self.names: bytes | None = None
        self.forgiving = False

    def seeing(self, names: bytes | None, *, forgiving: bool) -> LuaContext:
        """The same context for expressions that have further globals, and to which nil has members if ``forgiving``.

        ``names`` is a table of them, encoded. It is good for as long as this context is, and is not to be closed.
        """
        view = LuaContext(self._lua, self.host, self.number)
        view._state = self.state
        view.names = names
        view.forgiving = forgiving
        return view

    def child(self) -> LuaContext:
        """A context with all that is in this one, in which other tables may stand at ``callouts.NAME``.

        Close it before this one.
        """
        child = self._lua.context(self.host)
        child._state = self.state
        self.state.derive(self.number, child.number)
        return child

    @property
    def state(self) -> State:
        """The state in which this request's scripts run."""
        state = self._state
        if state is None:
            if self._closed:
                raise RuntimeError("the Lua context of this request is closed")
            state = self._state = self._lua.state()
        return state

    def set(self, path: tuple[str, ...], value: Value) -> None:
        """Put a value at a path below ``kong.ctx.shared``, for scripts only; tables on the way are made.

        None removes. Raises ScriptError for a value that Lua cannot hold.
        """
        try:
            encoded = encode(value)
        except ValueError as error:
            raise ScriptError(_spelled(path), str(error)) from None
        self.state.store(self.number, encoded, tuple(map(raw, path)))

    def get(self, path: tuple[str, ...]) -> Value:
        """The value at a path below ``kong.ctx.shared``, None if there is none.

        Raises ScriptError for what has no form outside Lua: functions, tables that contain themselves.
        """
        if self._state is None:
            return None
        try:
            return self._state.fetch(self.number, tuple(map(raw, path)))
        except RunFailed as error:
            raise ScriptError(_spelled(path), str(error)) from None

    def close(self) -> None:
        """Forget all of it; the context is not to be used any more."""
        self._closed = True
        if self._state is not None:
            self._state.close(self.number)
            self._state = None


def _spelled(path: tuple[str, ...]) -> str:
    return ".".join(("kong.ctx.shared", *path))
