"""A Lua state with the library in it, and a way to run a script there as the sandbox would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lupa import luajit21

from request_callout.lua import library

_RUNNER = b"""
local lib = ...
local function show(value)
  if type(value) == "string" then
    return string.format("%q", value)
  elseif type(value) ~= "table" then
    return tostring(value)
  end
  local keys = {}
  for key in next, value do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) == type(b) then return a < b end
    return type(a) == "number"
  end)
  local parts = {}
  for _, key in ipairs(keys) do
    parts[#parts + 1] = tostring(key) .. "=" .. show(value[key])
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

return function(source)
  local env = setmetatable({
    ngx = lib.ngx, cjson = lib.cjson, cjson_safe = lib.cjson_safe, string = lib.string, table = lib.table, lib = lib,
  }, { __index = _G })
  local chunk, fault = loadstring(source, "=line")
  if not chunk then return "syntax: " .. fault end
  setfenv(chunk, env)
  local function pass(...) return select("#", ...), ... end
  local results = { pcall(function() return pass(chunk()) end) }
  if not results[1] then return "error: " .. tostring(results[2]) end
  local parts = {}
  for index = 1, results[2] do parts[index] = show(results[index + 2]) end
  return table.concat(parts, " ")
end
"""


class Machine:
    """A state of its own, without the compiler, as scripts have it."""

    def __init__(self) -> None:
        self.lua = luajit21.LuaRuntime(encoding=None, register_eval=False, register_builtins=False, max_memory=0)
        self.lua.execute(b"jit.off()")
        self.library: Any = library.install(self.lua)
        self._run: Any = self.lua.execute(_RUNNER, self.library)

    def __call__(self, source: str) -> str:
        """What a script returns, as Lua would write it; ``error: ...`` if it fails."""
        result: bytes = self._run(source.encode("utf-8", "surrogateescape"))
        return result.decode("utf-8", "surrogateescape")


@pytest.fixture(scope="module")
def run() -> Callable[[str], str]:
    return Machine()


@pytest.fixture
def machine() -> Machine:
    return Machine()
