"""The context as the call for one element sees it, where a callout is made for each element of a list.

It is a scope of its own below that of the request: ``item`` and ``index`` are there for expressions, and
``callouts.NAME`` is this element's alone, so that many may be in the making at once. All else is the request's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from request_callout.engine.context import Context, followed
from request_callout.engine.expression import UNKNOWN, Path
from request_callout.lua import LuaContext, Uses, encode
from request_callout.lua.host import ScriptError
from request_callout.values import Value

if TYPE_CHECKING:
    from request_callout.engine.record import Record


class ElementContext(Context):
    """The context of one element's call; ``owns_parent``: what it is below ends with it."""

    __slots__ = ("_index", "_item", "_name", "_names", "_owns_parent", "_parent")

    def __init__(self, parent: Context, name: str, item: Value, index: int, *, owns_parent: bool = False) -> None:
        super().__init__(parent.machine, parent.host, parent.client)
        self._parent = parent
        self._name = name
        self._item = item
        self._index = index
        self._names: bytes | None = None
        self._owns_parent = owns_parent

    def close(self) -> None:
        """Give the Lua side back."""
        super().close()
        if self._owns_parent:
            self._parent.close()

    def detached(self, fresh: Context) -> Context:
        """The context of the same element below that of another run."""
        parent = self._parent.detached(fresh)
        return ElementContext(parent, self._name, self._item, self._index, owns_parent=True)

    def lookup(self, path: Path) -> Any:
        """The value at a constant path, or UNKNOWN where only Lua can tell."""
        root = path[0]
        if root == "item":
            return followed(self._item, path[1:])
        if root == "index":
            return self._index if len(path) == 1 else UNKNOWN
        if root == "callouts" and path[1] != self._name:
            return self._parent.lookup(path)
        return super().lookup(path)

    def lua_for(self, uses: Uses) -> LuaContext:
        """The Lua side with everything that these uses read: the request's unless they may read this callout's own."""
        lua = self._parent.lua_for(uses)
        forgiving = lua.forgiving
        if uses.all_callouts or self._name in uses.callouts:
            lua = self._own()
        names = self._encoded() if uses.element else None
        return lua if names is None and not forgiving else lua.seeing(names, forgiving=forgiving)

    def lua_for_script(self) -> LuaContext:
        """The Lua side for a script, which may read and change everything."""
        self._parent.lua_for_script()
        self.scripted = True
        return self._own()

    def _own(self) -> LuaContext:
        lua = self._lua
        if lua is None:
            lua = self._lua = self._parent.lua_below()
        record = self.records.get(self._name)
        if record is not None and self._name not in self._in_lua:
            self._in_lua.add(self._name)
            lua.set(("callouts", self._name), self._table(record))
        return lua

    def _table(self, record: Record) -> dict[str, Value]:
        return {**record.table(), "item": self._item, "index": self._index}

    def _encoded(self) -> bytes:
        if self._names is None:
            try:
                self._names = encode({"item": self._item, "index": self._index})
            except ValueError as error:
                raise ScriptError("for_each.items", str(error)) from None
        return self._names


class NoElement:
    """The scope of an expression that may ask for an element where there is none: ``item`` and all in it is nil."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def lookup(self, path: Path) -> Any:
        """The value at a constant path, or UNKNOWN where only Lua can tell."""
        return None if path[0] in ("item", "index") else self._context.lookup(path)

    def lua_for(self, uses: Uses) -> LuaContext:
        """The Lua side of the request."""
        lua = self._context.lua_for(uses)
        return lua.seeing(None, forgiving=True) if uses.element else lua
