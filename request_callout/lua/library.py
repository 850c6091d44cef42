"""The library of scripts: ``ngx``, ``cjson`` and the sandbox's ``string`` and ``table``, put into a new Lua state.

The library is written in Lua (``prelude/*.lua``); Python serves it with digests, times and regular expressions. A
Python function never gets into a script's hands: it is called from Lua closures that check its arguments first.
Two things make such a call safe. It never raises: a failure is None here and a message in ``problem``. And the
state's memory limit is off until the call has returned: a result that did not fit would unwind the C stack through
the interpreter's frames, with the interpreter lock held for ever. So a call is always followed by ``resume_limit``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

from lupa import luajit21

from request_callout.lua import ngx
from request_callout.lua.regex import Engine

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "encode_base64": ngx.encode_base64,
    "decode_base64": ngx.decode_base64,
    "md5": ngx.md5,
    "md5_bin": ngx.md5_bin,
    "sha1_bin": ngx.sha1_bin,
    "hmac_sha1": ngx.hmac_sha1,
    "crc32": ngx.crc32,
    "now": ngx.now,
    "time": ngx.seconds,
    "localtime": ngx.localtime,
    "utctime": ngx.utctime,
    "http_time": ngx.http_time,
    "cookie_time": ngx.cookie_time,
    "parse_http_time": ngx.parse_http_time,
}
_ENGINE_FUNCTIONS = ("compile", "problem", "set_subject", "search", "span")
_PARTS = ("settled", "patterns", "strings", "cjson", "ngx", "re")

# Loads the parts in their order and returns the library; `functions` are Python's, each closed over by a Lua function.
_LOADER = rb"""
local functions, sources, resume_limit, parts, limits = ...
local host = { engine = {} }
host.look_at_clock = limits and limits.look_at_clock or function() end
host.convert = limits and limits.convert or pcall

local function enclose(call)
  return function(...)
    local result = call(...)
    resume_limit()
    return result
  end
end

for index = 1, #functions, 2 do
  local name, engine = string.gsub(functions[index], "^engine%.", "")
  local owner = engine == 1 and host.engine or host
  owner[name] = enclose(functions[index + 1])
end

-- So that tostring of a number is no fast function's work, see settled.lua.
debug.setmetatable(0, { __metatable = false })

-- A light userdata of address 0, as ngx.null is: there is no other way to make one in Lua.
host.null = require("string.buffer").decode("\3")

local loaded = {}
for index = 1, #parts do
  loaded[parts[index]] = assert(loadstring(sources[index]))(host)
  if parts[index] == "settled" or parts[index] == "patterns" then
    host[parts[index]] = loaded[parts[index]]
  elseif parts[index] == "strings" then
    host.pay, host.argument_error = loaded.strings.pay, loaded.strings.argument_error
  end
end
loaded.ngx.re = loaded.re

return {
  ngx = loaded.ngx,
  cjson = loaded.cjson.cjson,
  cjson_safe = loaded.cjson.cjson_safe,
  string = loaded.strings.string,
  table = loaded.strings.table,
  null = host.null,
  array_mt = loaded.cjson.array_mt,
  empty_array = loaded.cjson.empty_array,
  lists = loaded.cjson.lists,
  forget = loaded.cjson.forget,
}
"""


class _Guard:
    """Makes Python functions safe to call from a state whose memory is limited."""

    def __init__(self, lua: luajit21.LuaRuntime) -> None:
        self._lua = lua
        self._limit = 0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` with the limit lifted and its exceptions turned into None."""
        get_limit, set_limit = self._lua.get_max_memory, self._lua.set_max_memory

        def call(*args: Any) -> Any:
            limit = get_limit(True)
            if limit:
                set_limit(0)
                self._limit = limit
            try:
                return function(*args)
            except BaseException:
                # Even an interrupt must not become an error value: a script would get hold of a Python object.
                return None

        return call

    def resume(self) -> None:
        """Put the limit back that the last call lifted."""
        if self._limit:
            self._lua.set_max_memory(self._limit, True)
            self._limit = 0


def install(lua: luajit21.LuaRuntime, limits: Any = None) -> Any:
    """Put the library into a new state with all of Lua's own libraries, and return the table of its parts.

    Fields: ``ngx`` (without ``log`` and ``var``), ``cjson``, ``cjson_safe``, ``string``, ``table``, ``null``
    (``ngx.null``), ``array_mt`` (the metatable of arrays: never for scripts), ``empty_array``, ``lists`` (what kind of
    list a metatable stands for), ``forget`` (lets go of what failed calls left). ``limits`` is the table of
    ``prelude/limits.lua`` where runs have limits. The state must give and take bytes (``encoding=None``). Nothing
    global is changed, but that numbers get an empty metatable (see ``settled.lua``).
    """
    guard = _Guard(lua)
    engine = Engine()
    functions: list[Any] = []
    for name, function in _FUNCTIONS.items():
        functions += [name.encode(), guard.wrap(function)]
    for name in _ENGINE_FUNCTIONS:
        functions += [f"engine.{name}".encode(), guard.wrap(getattr(engine, name))]
    functions += [b"find_plain", guard.wrap(_find_plain)]
    sources = lua.table_from([_bytecode(part) for part in _PARTS])
    parts = lua.table_from([part.encode() for part in _PARTS])
    return lua.execute(_LOADER, lua.table_from(functions), sources, guard.resume, parts, limits)


@cache
def _bytecode(part: str) -> bytes:
    """A part, compiled: loading that takes a twentieth of the time, and states are made often."""
    source = (resources.files("request_callout.lua") / "prelude" / f"{part}.lua").read_bytes()
    compiler = luajit21.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
    dump = b"local source, name = ... return string.dump(assert(loadstring(source, name)))"
    code: bytes = compiler.execute(dump, source, f"={part}.lua".encode())
    return code


def _find_plain(text: bytes, wanted: bytes, first: float) -> int | None:
    """Where ``wanted`` is in ``text`` at or behind index ``first`` (from 1), or None: in linear time, as C's is not."""
    at = text.find(wanted, int(first) - 1)
    return at + 1 if at >= 0 else None
