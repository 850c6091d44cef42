-- The globals of scripts: those of kong-lua-sandbox 1.1, and what the server's options add.
--
-- Every run has a table of globals of its own, which falls back to one of the tables made here. No script can change
-- these: they are reached only as a fallback, and the libraries in them are behind read-only fronts.

local lib, limits, pdk, mode, requires, environment = ...

local error, type, pairs, setmetatable, gmatch, match = error, type, pairs, setmetatable, string.gmatch, string.match
local tostring, G, load, raw_require = tostring, _G, load, require
local read_only = pdk.read_only
local trusted = mode == "on"

local function only(library, names)
  local chosen = {}
  for name in gmatch(names, "%S+") do
    chosen[name] = library[name]
  end
  return chosen
end

local base = only(G, "_VERSION assert error ipairs next pairs select tonumber tostring type unpack")
base.pcall, base.xpcall = limits.pcall, limits.xpcall

local function front(name, members)
  base[name] = trusted and members or read_only(name, members)
end

front("coroutine", limits.coroutine)
front("string", lib.string)
front("table", lib.table)
front("math", only(math, [[
  abs acos asin atan atan2 ceil cos cosh deg exp fmod floor frexp huge ldexp log log10 max min modf pi pow rad random
  sin sinh sqrt tan tanh]]))
front("os", only(os, "clock date difftime time"))
base.kong, base.ngx = pdk.kong, pdk.ngx

-- What Kong's LuaJIT has of Lua 5.2, and the sandbox leaves out.
local whole_table = {
  pack = function(...)
    return { n = select("#", ...), ... }
  end,
  unpack = unpack,
}
for name, member in pairs(lib.table) do
  whole_table[name] = member
end

local function rawlen(value)
  return #value
end

-- Modules by name: those the state holds and that a script may have.
local modules = { cjson = lib.cjson, ["cjson.safe"] = lib.cjson_safe }
local available = {
  bit = bit,
  ["table.new"] = raw_require("table.new"),
  ["table.clear"] = raw_require("table.clear"),
  ["string.buffer"] = raw_require("string.buffer"),
  ffi = raw_require("ffi"),
  jit = jit,
  math = math,
  os = os,
  io = io,
  string = lib.string,
  table = whole_table,
  coroutine = limits.coroutine,
  debug = { traceback = debug.traceback },
}
local allowed = {}
for name in gmatch(requires, "%S+") do
  allowed[name] = true
end

base.require = function(name)
  local module = modules[name]
  if module == nil and (trusted or allowed[name]) then
    module = available[name]
    if module == nil then
      error("module '" .. tostring(name) .. "' is not available here: the plugin runs outside Kong, without its Lua modules", 2)
    end
  elseif module == nil then
    error("require '" .. tostring(name) .. "' not allowed within sandbox", 2)
  end
  return module
end
if not trusted then
  for name, module in pairs(modules) do
    modules[name] = read_only(name, module)
  end
  for name, module in pairs(available) do
    if type(module) == "table" then
      available[name] = read_only(name, module)
    end
  end
end

-- Functions of the full environment that would reach the runtime's own tables get a form that does not. What they load
-- has the globals of the run that is going on.
local function loaded(source, chunk_name, env)
  if type(source) == "function" then
    local pieces = {}
    for piece in source do
      if piece == "" then break end
      pieces[#pieces + 1] = piece
    end
    source = table.concat(pieces)
  end
  return load(source, chunk_name or "=load", "t", env or pdk.globals())
end

-- The metatables of the lists that all scripts share are locked, but a list's own may be changed as in Kong.
local list_metatable, set_any_metatable = debug.getmetatable, debug.setmetatable

local function set_metatable(value, mt)
  if type(value) == "table" and (mt == nil or type(mt) == "table") and lib.lists[list_metatable(value) or 0] then
    set_any_metatable(value, mt)
    return value
  end
  return setmetatable(value, mt)
end

local full = {
  bit = bit,
  io = io,
  os = os,
  math = math,
  jit = jit,
  string = lib.string,
  table = whole_table,
  coroutine = limits.coroutine,
  debug = { traceback = debug.traceback },
  collectgarbage = collectgarbage,
  gcinfo = gcinfo,
  getmetatable = getmetatable,
  setmetatable = set_metatable,
  newproxy = newproxy,
  print = print,
  rawequal = rawequal,
  rawget = rawget,
  rawlen = rawlen,
  rawset = rawset,
  load = function(source, chunk_name, _, env)
    return loaded(source, chunk_name, env)
  end,
  loadstring = function(source, chunk_name)
    return loaded(source, chunk_name)
  end,
}

if trusted then
  for name, member in pairs(full) do
    base[name] = member
  end
else
  -- A table that the sandbox protects stays so, whatever functions the server adds.
  full.rawset = function(value, key, member)
    local mt = list_metatable(value)
    if type(value) == "table" and mt and mt.__newindex and mt.__metatable == false then
      error("cannot modify this table, it is protected by the sandbox", 2)
    end
    return rawset(value, key, member)
  end
  -- A dotted name, such as string.buffer or os.getenv, puts the member into a table of its first part.
  for name in gmatch(environment, "%S+") do
    local first, second = match(name, "^([^.]+)%.(.+)$")
    if not first then
      local member = full[name]
      if base[name] == nil then
        base[name] = type(member) == "table" and read_only(name, member) or member
      end
    elseif full[first] then
      local members = setmetatable({ [second] = full[first][second] }, { __index = base[first] })
      base[first] = read_only(first, members)
    end
  end
end

local script_mt = { __index = base, __metatable = false }

local shortcuts = {
  headers = true,
  query_params = true,
  uri_captures = true,
}

local expression_mt = {
  __index = function(_, name)
    if name == "callouts" then
      return pdk.shared().callouts
    elseif name == "shared" then
      return pdk.shared()
    elseif shortcuts[name] then
      return pdk.shortcut(name)
    end
    return base[name]
  end,
  __metatable = false,
}

local function globals(is_expression, names_itself)
  local env = setmetatable({}, is_expression and expression_mt or script_mt)
  if names_itself then
    env._G = env
  end
  return env
end

-- Methods of strings are the sandbox's.
getmetatable("").__index = lib.string
getmetatable("").__metatable = false

return { globals = globals, base = base }
