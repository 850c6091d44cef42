"""The context of the callouts: ``kong.ctx.shared.callouts``, as expressions, scripts and other plugins see it.

It is kept in Python until a script has run; from then on the Lua tables are the truth, since a script may change
any of it. A callout's part is brought to Lua only when something there reads it.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

from request_callout.engine.expression import UNKNOWN, Path, Text
from request_callout.engine.params import without_secrets
from request_callout.engine.record import CalloutRecord, CalloutResponse, Record, SkippedRecord
from request_callout.lua import Host, Lua, LuaContext, Script, Uses
from request_callout.lua.host import ScriptError
from request_callout.values import Value

if TYPE_CHECKING:
    from request_callout.engine.client import ClientRequest

__all__ = ["CalloutRecord", "CalloutResponse", "Context", "member"]

_HEADERS = ("response", "headers")


class Context:
    """The callouts' contexts of one proxied request; also the scope of its expressions."""

    __slots__ = ("_in_lua", "_lua", "client", "host", "machine", "records", "scripted", "skipped")

    def __init__(self, machine: Lua, host: Host, client: ClientRequest) -> None:
        self.machine = machine
        self.host = host
        self.client = client
        self._lua: LuaContext | None = None
        self._in_lua: set[str] = set()
        self.records: dict[str, Record] = {}
        self.skipped = False
        self.scripted = False

    def close(self) -> None:
        """Give the Lua side back."""
        if self._lua is not None:
            self._lua.close()
            self._lua = None

    def detached(self, fresh: Context) -> Context:
        """``fresh``, the context of another run, with what is known here."""
        fresh.records.update(self.records)
        fresh.skipped = self.skipped
        return fresh

    def lookup(self, path: Path) -> Any:
        """The value at a constant path, or UNKNOWN where only Lua can tell."""
        root = path[0]
        if root == "callouts":
            return self._lookup_callout(path)
        if len(path) != 2:
            return UNKNOWN
        name = path[1]
        if root == "headers" and isinstance(name, str):
            headers = self.client.headers
            key = name.lower()
            return headers.get(key) if key in headers else headers.get(key.replace("_", "-"))
        if root == "query_params" and isinstance(name, str):
            return self.client.query.get(name)
        return UNKNOWN

    def _lookup_callout(self, path: Path) -> Any:
        if self.scripted or len(path) < 4 or path[2] != "response":
            return UNKNOWN
        record = self.records.get(str(path[1]))
        if record is None or record.response is None:
            return None if type(record) is SkippedRecord else UNKNOWN
        value: Any = record.response
        rest = path[3:]
        if rest[0] == "headers" and len(rest) == 2 and isinstance(rest[1], str):
            headers = value.get("headers")
            if headers is None:
                return UNKNOWN
            field_name = rest[1].lower()
            return headers.get(field_name) if field_name in headers else headers.get(field_name.replace("_", "-"))
        return followed(value, rest)

    def find(self, path: Path) -> Value:
        """The value at a constant path; None also where the path ends early, which would be an error in Lua."""
        found = self.lookup(path)
        if found is not UNKNOWN:
            return found
        if path[0] == "uri_captures":
            captures = self.client.part("captures") or {}
            kind = "unnamed" if isinstance(path[1], int) else "named"
            return _follow(captures.get(kind), path[1:])
        if path[0] != "callouts":
            found = self.lookup(path[:2])
            return None if found is UNKNOWN else _follow(found, path[2:])
        if path[2:4] == _HEADERS and len(path) > 4 and isinstance(path[4], str):
            headers, name = self._reach(path[:4]), path[4].lower()
            found = _follow(headers, (name,))
            return _follow(_follow(headers, (name.replace("_", "-"),)) if found is None else found, path[5:])
        return self._reach(path)

    def _reach(self, path: Path) -> Value:
        """What is at a path of the callouts' contexts, with names as they stand there; None if there is nothing."""
        name = str(path[1])
        if not self.scripted or self._lua is None or name not in self._in_lua:
            record = self.records.get(name)
            return None if record is None else _follow(record.table(), path[2:])
        names = [str(key) for key in takewhile(lambda key: isinstance(key, str), path)]
        return _follow(self._lua.get(tuple(names)), path[len(names) :])

    def lua_for(self, uses: Uses) -> LuaContext:
        """The Lua side, with the contexts of finished callouts that these uses read."""
        names = self.records.keys() if uses.all_callouts or self.scripted else uses.callouts.intersection(self.records)
        lua = self._with(names)
        return lua.seeing(None, forgiving=True) if self.skipped and self.reads_skipped(uses) else lua

    def reads_skipped(self, uses: Uses) -> bool:
        """Whether these uses may read a callout that was skipped."""
        names = self.records.keys() if uses.all_callouts else uses.callouts.intersection(self.records)
        return any(type(self.records[name]) is SkippedRecord for name in names)

    def lua_for_script(self) -> LuaContext:
        """The Lua side for a script, which may read and change everything."""
        lua = self._with(self.records.keys())
        self.scripted = True
        return lua

    def lua_below(self) -> LuaContext:
        """A Lua side below this one, for tables that stand at ``callouts.NAME`` there alone."""
        return self._with(()).child()

    def _with(self, names: Any) -> LuaContext:
        lua = self._lua
        if lua is None:
            lua = self._lua = self.machine.context(self.host)
            lua.set(("callouts",), {})
        for name in [name for name in names if name not in self._in_lua]:
            self._in_lua.add(name)
            lua.set(("callouts", name), self.records[name].table())
        return lua

    def show(self, name: str, record: CalloutRecord) -> None:
        """Bring a callout's own context to Lua before one of its scripts runs."""
        self.records.setdefault(name, record)
        self.lua_for_script()

    def show_outcome(self, name: str, record: CalloutRecord) -> None:
        """Bring the outcome of a callout whose request is already in Lua there too."""
        if name in self._in_lua and self._lua is not None:
            path = ("callouts", name)
            if record.retries:
                self._lua.set((*path, "request", "retries"), record.retries)
                self._lua.set((*path, "request", "n_retries"), len(record.retries))
            if record.error is not None:
                self._lua.set((*path, "request", "error"), record.error)
            status = record.caching.get("status")
            if status is not None:
                self._lua.set((*path, "caching", "status"), status)
            if record.fallback:
                self._lua.set((*path, "fallback"), True)
            self._lua.set((*path, "response"), record.response)

    def see(self, name: str, record: CalloutRecord, response: dict[str, Value], text: Text) -> Value:
        """The value of an expression that sees a response as that of its callout, before that is what it is."""
        before = self.records.get(name)
        self.records[name] = record
        record.response = response
        if name in self._in_lua and self._lua is not None:
            self._lua.set(("callouts", name, "response"), response)
        try:
            return text.value(self)
        finally:
            record.response = None
            if before is None:
                del self.records[name]
            else:
                self.records[name] = before

    def run(self, script: Script) -> None:
        """Run a script; raises ScriptError and what its PDK calls raise.

        One that may change the context gets all of it, and all is read back in the end; one that does not, only what
        it names.
        """
        script.run(self.lua_for_script() if script.only_reads is None else self.lua_for(script.only_reads))

    def finish(self, name: str, record: Record) -> None:
        """Show a finished callout to everything that comes after, without what is not to be stored."""
        self.records[name] = record
        if record.response is None:
            self.skipped = self.skipped or type(record) is SkippedRecord
            return
        if record.not_stored:
            record.response = {key: value for key, value in record.response.items() if key not in record.not_stored}
        for key in record.not_stored:
            if name in self._in_lua and self._lua is not None:
                self._lua.set(("callouts", name, "response", key), None)

    def read_back(self, script: Script, name: str, *path: str) -> Value:
        """What a script left at ``callouts.NAME.PATH``; raises ScriptError at the script for what can't leave Lua."""
        if self._lua is None:
            return None
        try:
            return self._lua.get(("callouts", name, *path))
        except ScriptError as error:
            raise ScriptError(script.where, str(error)) from None

    def tables(self) -> dict[str, Value]:
        """All contexts as they are now, for export: without the proxies' secrets and without what is not stored."""
        if not self.scripted or self._lua is None:
            return {name: record.table(secrets=False) for name, record in self.records.items()}
        tables = self._lua.get(("callouts",))
        if not isinstance(tables, dict):
            return {}
        for name, record in self.records.items():
            if name not in self._in_lua:
                tables[name] = record.table(secrets=False)
            elif isinstance(tables.get(name), dict):
                _hide(tables[name], record.not_stored)
        return tables


def _follow(value: Any, keys: Path) -> Value:
    """The value at these keys of a table, None where there is none."""
    for key in keys:
        if isinstance(value, dict) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int):
            value = value[key - 1] if 0 < key <= len(value) else None
        else:
            return None
    return value


def followed(value: Any, keys: Path) -> Any:
    """What is below a value at constant keys, lists counted from 1; UNKNOWN where only Lua can tell."""
    for key in keys:
        if isinstance(value, dict) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int):
            value = value[key - 1] if 0 < key <= len(value) else None
        else:
            return UNKNOWN
    return value


def _hide(table: dict[str, Value], not_stored: tuple[str, ...]) -> None:
    """Take out of a callout's table what does not leave the plugin."""
    params = member(member(table, "request"), "params")
    if isinstance(params.get("proxy"), dict):
        params["proxy"] = without_secrets(params["proxy"])
    for name in not_stored:
        member(table, "response").pop(name, None)


def member(table: dict[str, Value], name: str) -> dict[str, Value]:
    """The table at a key of a table; an empty one if a script left something else there."""
    value = table.get(name)
    return value if isinstance(value, dict) else {}
