"""The context of the callouts: ``kong.ctx.shared.callouts``, as expressions, scripts and other plugins see it.

It is kept in Python until a script has run; from then on the Lua tables are the truth, since a script may change
any of it. A callout's part is brought to Lua only when something there reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from request_callout.engine.expression import UNKNOWN, Path
from request_callout.engine.params import Params, without_secrets
from request_callout.lua import Headers, Host, Lua, LuaContext, Script, Uses
from request_callout.lua.host import ScriptError
from request_callout.values import Kept, Value, text

if TYPE_CHECKING:
    from request_callout.engine.client import ClientRequest

_UNSET: Any = object()


@dataclass(slots=True)
class CalloutResponse:
    """What a callout got back: header names in lower case, the body as received and, once decoded, as a value."""

    status: int
    headers: dict[str, str | list[str]]
    raw_body: bytes
    body: Value = _UNSET
    kept: Kept | None = None
    """The table of a response that many requests get: not to be changed."""

    @property
    def decoded(self) -> bool:
        return self.body is not _UNSET

    def table(self) -> dict[str, Value]:
        """The table ``response``."""
        if self.kept is not None:
            return self.kept
        result: dict[str, Value] = {"status": self.status, "headers": Headers(self.headers)}
        body = self.body if self.decoded else text(self.raw_body)
        if body is not None:
            result["body"] = body
        return result


@dataclass(slots=True)
class CalloutRecord:
    """The context of one callout."""

    params: Params
    caching: dict[str, Value]
    retries: list[dict[str, Value]] = field(default_factory=list)
    error: dict[str, Value] | None = None
    response: dict[str, Value] | None = None
    not_stored: tuple[str, ...] = ()
    """Members of the response that nothing after ``response.by_lua`` may see."""
    response_bytes: int = 0
    """How long the response's body is, as received."""

    @property
    def body_bytes(self) -> int:
        """How long the longer of the two bodies is."""
        return max(self.response_bytes, len(self.params.body_bytes() or b""))

    def request_table(self, *, secrets: bool = True) -> dict[str, Value]:
        """The table ``request``."""
        if self.params.untried is not None and not self.retries and self.error is None:
            return self.params.untried
        table: dict[str, Value] = {
            "params": self.params.table(secrets=secrets),
            "retries": self.retries,
            "n_retries": len(self.retries),
        }
        if self.error is not None:
            table["error"] = self.error
        return table

    def table(self, *, secrets: bool = True) -> dict[str, Value]:
        """The whole of it: ``callouts.NAME``."""
        result: dict[str, Value] = {"request": self.request_table(secrets=secrets), "caching": self.caching}
        if self.response is not None:
            result["response"] = self.response
        return result


class Context:
    """The callouts' contexts of one proxied request; also the scope of its expressions."""

    __slots__ = ("_client", "_host", "_in_lua", "_lua", "_machine", "records", "scripted")

    def __init__(self, machine: Lua, host: Host, client: ClientRequest) -> None:
        self._machine = machine
        self._host = host
        self._client = client
        self._lua: LuaContext | None = None
        self._in_lua: set[str] = set()
        self.records: dict[str, CalloutRecord] = {}
        self.scripted = False

    def close(self) -> None:
        """Give the Lua side back."""
        if self._lua is not None:
            self._lua.close()
            self._lua = None

    def lookup(self, path: Path) -> Any:
        """The value at a constant path, or UNKNOWN where only Lua can tell."""
        root = path[0]
        if root == "callouts":
            return self._lookup_callout(path)
        if len(path) != 2:
            return UNKNOWN
        name = path[1]
        if root == "headers" and isinstance(name, str):
            headers = self._client.headers
            key = name.lower()
            return headers.get(key) if key in headers else headers.get(key.replace("_", "-"))
        if root == "query_params" and isinstance(name, str):
            return self._client.query.get(name)
        return UNKNOWN

    def _lookup_callout(self, path: Path) -> Any:
        if self.scripted or len(path) < 4 or path[2] != "response":
            return UNKNOWN
        record = self.records.get(str(path[1]))
        if record is None or record.response is None:
            return UNKNOWN
        value: Any = record.response
        rest = path[3:]
        if rest[0] == "headers" and len(rest) == 2 and isinstance(rest[1], str):
            headers = value.get("headers")
            if headers is None:
                return UNKNOWN
            field_name = rest[1].lower()
            return headers.get(field_name) if field_name in headers else headers.get(field_name.replace("_", "-"))
        for key in rest:
            if isinstance(value, dict) and isinstance(key, str):
                value = value.get(key)
            elif isinstance(value, list) and isinstance(key, int):
                value = value[key - 1] if 0 < key <= len(value) else None
            else:
                return UNKNOWN
        return value

    def lua_for(self, uses: Uses) -> LuaContext:
        """The Lua side, with the contexts of finished callouts that these uses read."""
        names = self.records.keys() if uses.all_callouts or self.scripted else uses.callouts.intersection(self.records)
        return self._with(names)

    def lua_for_script(self) -> LuaContext:
        """The Lua side for a script, which may read and change everything."""
        lua = self._with(self.records.keys())
        self.scripted = True
        return lua

    def _with(self, names: Any) -> LuaContext:
        lua = self._lua
        if lua is None:
            lua = self._lua = self._machine.context(self._host)
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
            self._lua.set((*path, "response"), record.response)

    def run(self, script: Script) -> None:
        """Run a script; raises ScriptError and what its PDK calls raise.

        One that may change the context gets all of it, and all is read back in the end; one that does not, only what
        it names.
        """
        script.run(self.lua_for_script() if script.only_reads is None else self.lua_for(script.only_reads))

    def finish(self, name: str, record: CalloutRecord) -> None:
        """Show a finished callout to everything that comes after, without what is not to be stored."""
        self.records[name] = record
        if record.response is None:
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
