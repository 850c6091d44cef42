-- Values on their way in and out of Lua, see conversion.py: in as LuaJIT's serialisation, out as MessagePack.
-- Tables become arrays or maps by the rules of lua-cjson.

local lib = ...

local buffer = require("string.buffer")
local type, pairs, rawget, error, floor, char = type, pairs, rawget, error, math.floor, string.char
local concat, reverse, sub, lower, gsub, tostring = table.concat, string.reverse, string.sub, string.lower, string.gsub, tostring
local getmetatable, setmetatable, select, format = debug.getmetatable, setmetatable, select, string.format
local encode_number = buffer.encode

local null = buffer.decode("\3")
local array_mt, empty_array, lists = lib.array_mt, lib.empty_array, lib.lists
local MAX_DEPTH = 100
local SPARSE_SAFE, SPARSE_RATIO = 10, 2

-- Header tables: names are kept in lower case and found in any.
local headers_mt = {
  __index = function(headers, name)
    if type(name) ~= "string" then
      return nil
    end
    local key = lower(name)
    local value = rawget(headers, key)
    if value == nil then
      value = rawget(headers, (gsub(key, "_", "-")))
    end
    return value
  end,
  __metatable = false,
}

local reader = buffer.new({ metatable = { array_mt, headers_mt } })

local function unpack_value(data)
  reader:set(data)
  local value = reader:decode()
  reader:reset() -- it would keep the whole string otherwise
  return value
end

local SMALL, FIXED_STRING, FIXED_MAP, FIXED_ARRAY = {}, {}, {}, {}
for n = 0, 127 do SMALL[n] = char(n) end
for n = -32, -1 do SMALL[n] = char(256 + n) end
for n = 0, 31 do FIXED_STRING[n] = char(0xa0 + n) end
for n = 0, 15 do
  FIXED_MAP[n] = char(0x80 + n)
  FIXED_ARRAY[n] = char(0x90 + n)
end

local function be16(n)
  return char(floor(n / 256), n % 256)
end

local function be32(n)
  return char(floor(n / 0x1000000), floor(n / 0x10000) % 256, floor(n / 256) % 256, n % 256)
end

local function string_head(size)
  if size < 32 then
    return FIXED_STRING[size]
  elseif size < 256 then
    return "\217" .. char(size)
  elseif size < 0x10000 then
    return "\218" .. be16(size)
  end
  return "\219" .. be32(size)
end

local function number(n)
  local small = SMALL[n]
  if small then
    return small
  elseif n == floor(n) and n < 2^63 and n >= -2^63 then
    if n >= 0 and n < 0x10000 then
      return "\205" .. be16(n)
    elseif n >= 0 and n < 0x100000000 then
      return "\206" .. be32(n)
    end
    local high = floor(n / 0x100000000)
    local low = n - high * 0x100000000
    return "\211" .. be32(high < 0 and high + 0x100000000 or high) .. be32(low)
  end
  return "\203" .. reverse(sub(encode_number(n), 2))
end

-- How a table is written: the length of an array, or nil and the number of members.
local function shape(t)
  local mt = getmetatable(t)
  local list = mt and lists[mt]
  if list == "array" then
    return #t
  end
  local members, highest, numbers = 0, 0, true
  for key in pairs(t) do
    members = members + 1
    if numbers then
      if type(key) == "number" and key > 0 and key == floor(key) then
        if key > highest then highest = key end
      else
        numbers = false
      end
    end
  end
  if members == 0 and list then
    return 0
  elseif members > 0 and numbers then
    if highest > SPARSE_SAFE and highest > members * SPARSE_RATIO then
      error("an excessively sparse array cannot be passed on", 0)
    end
    return highest
  end
  return nil, members
end

local out, count

local put

local function put_table(t, depth)
  if depth == 0 then
    error(format("a value nests deeper than %d levels, or contains itself", MAX_DEPTH), 0)
  end
  local length, members = shape(t)
  count = count + 1
  if length then
    if length < 16 then
      out[count] = FIXED_ARRAY[length]
    elseif length < 0x10000 then
      out[count] = "\220" .. be16(length)
    else
      out[count] = "\221" .. be32(length)
    end
    for i = 1, length do
      put(rawget(t, i), depth - 1)
    end
    return
  end
  if members < 16 then
    out[count] = FIXED_MAP[members]
  elseif members < 0x10000 then
    out[count] = "\222" .. be16(members)
  else
    out[count] = "\223" .. be32(members)
  end
  for key, value in pairs(t) do
    local kind = type(key)
    if kind == "number" then
      key = tostring(key)
    elseif kind ~= "string" then
      error("a table key must be a number or a string, not a " .. kind, 0)
    end
    local size = #key
    out[count + 1] = FIXED_STRING[size] or string_head(size)
    out[count + 2] = key
    count = count + 2
    put(value, depth - 1)
  end
end

function put(value, depth)
  local kind = type(value)
  if kind == "string" then
    local size = #value
    out[count + 1] = FIXED_STRING[size] or string_head(size)
    out[count + 2] = value
    count = count + 2
  elseif value == empty_array and value ~= nil then
    count = count + 1
    out[count] = "\144"
  elseif kind == "table" then
    put_table(value, depth)
  else
    count = count + 1
    if kind == "number" then
      out[count] = SMALL[value] or number(value)
    elseif value == nil or value == null then
      out[count] = "\192"
    elseif value == true then
      out[count] = "\195"
    elseif value == false then
      out[count] = "\194"
    else
      error("a " .. kind .. " cannot be passed on", 0)
    end
  end
end

local function pack_value(value)
  out, count = {}, 0
  put(value, MAX_DEPTH)
  local pieces = out
  out = nil
  return concat(pieces, "", 1, count)
end

-- A call's arguments as one array; trailing and inner nils stay.
local function pack_values(...)
  local n = select("#", ...)
  if n == 0 then
    return "\144"
  end
  out, count = { FIXED_ARRAY[n] or "\220" .. be16(n) }, 1
  for i = 1, n do
    put((select(i, ...)), MAX_DEPTH)
  end
  local pieces = out
  out = nil
  return concat(pieces, "", 1, count)
end

-- A copy that shares no table with the original; what is reached twice is one table in the copy too.
local function copy(value, seen)
  if type(value) ~= "table" then
    return value
  end
  seen = seen or {}
  local result = seen[value]
  if not result then
    result = {}
    seen[value] = result
    for key, member in pairs(value) do
      result[key] = copy(member, seen)
    end
    local mt = getmetatable(value)
    if mt and (lists[mt] or mt == headers_mt) then
      setmetatable(result, mt)
    end
  end
  return result
end

-- Lets go of what a packing left that ended with an error.
local function forget()
  out = nil
  lib.forget()
end

return {
  forget = forget,
  pack = pack_value,
  pack_all = pack_values,
  unpack = unpack_value,
  copy = copy,
  null = null,
}
