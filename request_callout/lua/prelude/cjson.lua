-- JSON as lua-cjson does it in OpenResty, written in Lua so that a hook can stop it and the memory limit holds.
--
-- One difference: an empty array is decoded to a table that is encoded as an array again (`empty_array_mt`), where
-- lua-cjson needs `decode_array_with_array_mt`. The instances that all scripts share can't be reconfigured; `new()`
-- gives one that can.

local host = ...
local null, argument_error, convert = host.null, host.argument_error, host.convert
local getmetatable, setmetatable, newproxy = debug.getmetatable, setmetatable, newproxy
local byte, find, format, gsub = string.byte, string.find, string.format, string.gsub
local char, lower, sub = host.settled.char, host.settled.lower, host.settled.sub
local concat, error, floor, next, pcall, select, tonumber, type = table.concat, error, math.floor, next, pcall, select,
  tonumber, type

-- The metatables of lists, which all scripts share, stay in here: what a script has under these names, as `array_mt`
-- and from getmetatable, is a token, an empty table that refuses to be changed. A token may be a metatable itself.
local function token(name)
  return setmetatable({}, {
    __newindex = function()
      error("cannot modify cjson." .. name .. ", it is protected by the sandbox", 2)
    end,
    __metatable = false,
  })
end

local array_token, empty_array_token = token("array_mt"), token("empty_array_mt")
local array_mt, empty_array_mt = { __metatable = array_token }, { __metatable = empty_array_token }
local ARRAY, EMPTY_ARRAY = "array", "empty array"
local LISTS = { [array_mt] = ARRAY, [array_token] = ARRAY, [empty_array_mt] = EMPTY_ARRAY,
  [empty_array_token] = EMPTY_ARRAY }
local empty_array = newproxy(true)
getmetatable(empty_array).__tostring = function()
  return "userdata: empty_array"
end
getmetatable(empty_array).__metatable = false

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n",
  ["\r"] = "\\r", ["\t"] = "\\t", ["\127"] = "\\u007f" }
for code = 0, 31 do
  local control = char(code)
  ESCAPES[control] = ESCAPES[control] or format("\\u%04x", code)
end
local UNESCAPES = { [34] = '"', [92] = "\\", [47] = "/", [98] = "\b", [102] = "\f", [110] = "\n", [114] = "\r",
  [116] = "\t" }

local DEFAULTS = {
  sparse_convert = false, sparse_ratio = 2, sparse_safe = 10,
  encode_max_depth = 1000, decode_max_depth = 1000,
  encode_invalid_numbers = false, decode_invalid_numbers = true,
  keep_buffer = true, precision = 14, empty_as_object = true, array_with_mt = false, escape_slash = true,
}

-- Kong sets it for the module cjson.safe (kong/globalpatches.lua), not for cjson or new instances.
local KONG_PRECISION = 16

-- What encode and decode raise inside: a table, to tell it from errors that are none of theirs.
local function fail(message)
  error({ json = message }, 0)
end

local function encoder(config)
  local buffer, count
  local append

  local function unsupported(value, reason)
    fail("Cannot serialise " .. type(value) .. ": " .. reason)
  end

  local function number_text(value)
    if value ~= value or value == 1 / 0 or value == -1 / 0 then
      local allowed = config.encode_invalid_numbers
      if not allowed then
        unsupported(value, "must not be NaN or Infinity")
      elseif allowed == "null" then
        return "null"
      end
      return value ~= value and "NaN" or value > 0 and "Infinity" or "-Infinity"
    end
    return format(config.number_format, value)
  end

  local function string_text(value)
    if find(value, config.to_escape) then
      value = gsub(value, config.to_escape, ESCAPES)
    end
    return '"' .. value .. '"'
  end

  local function append_array(value, length, depth)
    buffer[count + 1] = "["
    count = count + 1
    for index = 1, length do
      if index > 1 then
        count = count + 1
        buffer[count] = ","
      end
      append(value[index], depth)
    end
    count = count + 1
    buffer[count] = "]"
  end

  -- The length as an array, or -1 for a table with other keys.
  local function array_length(value)
    local longest, items = 0, 0
    for key in next, value do
      if type(key) ~= "number" or key < 1 or floor(key) ~= key then
        return -1
      end
      if key > longest then
        longest = key
      end
      items = items + 1
    end
    if config.sparse_ratio > 0 and longest > items * config.sparse_ratio and longest > config.sparse_safe then
      if not config.sparse_convert then
        unsupported(value, "excessively sparse array")
      end
      return -1
    end
    return longest
  end

  local function append_object(value, depth)
    local separator = "{"
    for key, member in next, value do
      local text
      if type(key) == "string" then
        text = string_text(key)
      elseif type(key) == "number" then
        text = '"' .. number_text(key) .. '"'
      else
        unsupported(key, "table key must be a number or string")
      end
      buffer[count + 1] = separator
      buffer[count + 2] = text
      buffer[count + 3] = ":"
      count = count + 3
      separator = ","
      append(member, depth)
    end
    count = count + 1
    buffer[count] = separator == "{" and "{}" or "}"
  end

  local function append_table(value, depth)
    depth = depth + 1
    if depth > config.encode_max_depth then
      fail("Cannot serialise, excessive nesting (" .. depth .. ")")
    end
    local meta = getmetatable(value)
    local list = meta and LISTS[meta]
    if list == ARRAY then
      return append_array(value, #value, depth)
    elseif meta and meta.__len then
      -- Metamethods may yield, and another script may encode meanwhile: so the state is put back after them.
      local own_buffer, own_count = buffer, count
      local items, length = {}, tonumber(meta.__len(value)) or 0
      for index = 1, length do
        items[index] = value[index]
      end
      buffer, count = own_buffer, own_count
      return append_array(items, length, depth)
    end
    local length = array_length(value)
    if length > 0 or length == 0 and (not config.empty_as_object or list == EMPTY_ARRAY) then
      return append_array(value, length, depth)
    end
    return append_object(value, depth)
  end

  function append(value, depth)
    local kind = type(value)
    local text
    if kind == "string" then
      text = string_text(value)
    elseif kind == "number" then
      text = number_text(value)
    elseif kind == "table" then
      return append_table(value, depth)
    elseif kind == "boolean" then
      text = value and "true" or "false"
    elseif value == nil or value == null then
      text = "null"
    elseif value == empty_array then
      text = "[]"
    else
      unsupported(value, "type not supported")
    end
    count = count + 1
    buffer[count] = text
  end

  return function(value)
    buffer, count = {}, 0
    append(value, 0)
    local text = concat(buffer, "", 1, count)
    buffer = nil
    return text
  end, function()
    buffer = nil
  end
end

-- The UTF-8 bytes of a code point.
local function utf8(code)
  if code < 0x80 then
    return char(code)
  elseif code < 0x800 then
    return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40)
  elseif code < 0x10000 then
    return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  end
  return char(0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40, 0x80 + floor(code / 0x40) % 0x40,
    0x80 + code % 0x40)
end

local TOKENS = { [123] = "T_OBJ_BEGIN", [125] = "T_OBJ_END", [91] = "T_ARR_BEGIN", [93] = "T_ARR_END",
  [44] = "T_COMMA", [58] = "T_COLON", [34] = "T_STRING" }

local function decoder(config)
  local text, value_at

  local function skip(at)
    local code = byte(text, at)
    if code == 32 or code == 10 or code == 13 or code == 9 then
      at = find(text, "[^ \t\r\n]", at + 1) or #text + 1
      return at, byte(text, at)
    end
    return at, code
  end

  local number_at

  -- The token that stands at `at`, as lua-cjson names it in messages.
  local function token_name(at)
    local code = byte(text, at)
    if code == nil or code == 0 then
      return "T_END"
    elseif code == 34 then
      return "T_STRING"
    elseif TOKENS[code] then
      return TOKENS[code]
    elseif find(text, "^true", at) or find(text, "^false", at) then
      return "T_BOOLEAN"
    elseif find(text, "^null", at) then
      return "T_NULL"
    end
    local ok, value = pcall(number_at, at)
    if ok and value then
      return "T_NUMBER"
    end
    return find(text, "^[-%d]", at) and "invalid number" or "invalid token"
  end

  local function expected(what, at)
    fail("Expected " .. what .. " but found " .. token_name(at) .. " at character " .. at)
  end

  local function broken(what, reason, at)
    fail("Expected " .. what .. " but found " .. reason .. " at character " .. at)
  end

  local function hex4(at)
    local digits = sub(text, at, at + 3)
    return find(digits, "^%x%x%x%x$") and tonumber(digits, 16)
  end

  -- The string whose opening quote is at `opening`, given that a backslash or NUL comes first, at `stop`.
  local function escaped_string(opening, stop, what)
    local pieces, count, from = {}, 0, opening + 1
    while true do
      local code = byte(text, stop)
      if code == nil or code == 0 then
        broken(what, "unexpected end of string", #text + 1 < (stop or #text + 1) and #text + 1 or (stop or #text + 1))
      end
      count = count + 1
      pieces[count] = sub(text, from, stop - 1)
      if code == 34 then
        return concat(pieces, "", 1, count), stop + 1
      end
      local kind = byte(text, stop + 1)
      count = count + 1
      if kind == 117 then
        local point = hex4(stop + 2)
        from = stop + 6
        if point and point >= 0xD800 and point <= 0xDFFF then
          local low = point < 0xDC00 and sub(text, from, from + 1) == "\\u" and hex4(from + 2)
          if low and low >= 0xDC00 and low <= 0xDFFF then
            point = 0x10000 + (point - 0xD800) * 0x400 + (low - 0xDC00)
            from = from + 6
          else
            point = nil
          end
        end
        if not point then
          broken(what, "invalid unicode escape code", stop)
        end
        pieces[count] = utf8(point)
      else
        local plain = UNESCAPES[kind]
        if not plain then
          broken(what, "invalid escape code", stop)
        end
        pieces[count] = plain
        from = stop + 2
      end
      stop = find(text, '["\\%z]', from) or #text + 1
    end
  end

  local function string_at(at, what)
    local stop = find(text, '["\\%z]', at + 1) or #text + 1
    if byte(text, stop) == 34 then
      return sub(text, at + 1, stop - 1), stop + 1
    end
    return escaped_string(at, stop, what)
  end

  -- Numbers as C's strtod reads them: the longest prefix that is one.
  function number_at(at)
    if byte(text, at) == 46 then
      return nil
    end
    local _, last = find(text, "^-?%d+%.?%d*[eE]?[-+]?%d*", at)
    if not config.decode_invalid_numbers then
      if not find(text, "^-?0[%dxX]", at) and last then
        local value = tonumber(sub(text, at, last))
        if value then
          return value, last + 1
        end
      else
        return nil
      end
    elseif last then
      local following = byte(text, last + 1)
      if following ~= 120 and following ~= 88 then
        local value = tonumber(sub(text, at, last))
        if value then
          return value, last + 1
        end
      end
    end
    if config.decode_invalid_numbers then
      _, last = find(text, "^[-+]?0[xX]%x+", at)
      if last then
        local sign, digits = 1, sub(text, at, last)
        if byte(digits) == 45 or byte(digits) == 43 then
          sign, digits = byte(digits) == 45 and -1 or 1, sub(digits, 2)
        end
        return sign * tonumber(digits), last + 1
      end
      local start = find(text, "^[-+]", at) and at + 1 or at
      local sign = byte(text, at) == 45 and -1 or 1
      local word = lower(sub(text, start, start + 7))
      if word == "infinity" then
        return sign / 0, start + 8
      elseif sub(word, 1, 3) == "inf" then
        return sign / 0, start + 3
      elseif sub(word, 1, 3) == "nan" then
        return 0 / 0, start + 3
      end
    end
    local start = config.decode_invalid_numbers and find(text, "^+", at) and at + 1 or at
    for _, shape in next, { "^-?%d+%.?%d*[eE][-+]?%d+", "^-?%d+%.?%d*", "^-?%.%d+" } do
      _, last = find(text, shape, start)
      if last then
        return tonumber(sub(text, start, last)), last + 1
      end
    end
    return nil
  end

  local function check_depth(depth, at)
    if depth > config.decode_max_depth then
      fail("Found too many nested data structures (" .. depth .. ") at character " .. at)
    end
  end

  local function object_at(at, depth)
    check_depth(depth, at)
    local object = {}
    local code
    at, code = skip(at + 1)
    if code == 125 then
      return object, at + 1
    end
    while true do
      if code ~= 34 then
        expected("object key string", at)
      end
      local key, member
      key, at = string_at(at, "object key string")
      at, code = skip(at)
      if code ~= 58 then
        expected("colon", at)
      end
      member, at = value_at(at + 1, depth)
      object[key] = member
      at, code = skip(at)
      if code == 125 then
        return object, at + 1
      elseif code ~= 44 then
        expected("comma or object end", at)
      end
      at, code = skip(at + 1)
    end
  end

  local function array_at(at, depth)
    check_depth(depth, at)
    local array, count = {}, 0
    if config.array_with_mt then
      setmetatable(array, array_mt)
    end
    local code
    at, code = skip(at + 1)
    if code == 93 then
      if not config.array_with_mt then
        setmetatable(array, empty_array_mt)
      end
      return array, at + 1
    end
    while true do
      count = count + 1
      array[count], at = value_at(at, depth)
      at, code = skip(at)
      if code == 93 then
        return array, at + 1
      elseif code ~= 44 then
        expected("comma or array end", at)
      end
      at = at + 1
    end
  end

  function value_at(at, depth)
    local code
    at, code = skip(at)
    if code == 34 then
      return string_at(at, "value")
    elseif code == 123 then
      return object_at(at, depth + 1)
    elseif code == 91 then
      return array_at(at, depth + 1)
    elseif code == 116 and find(text, "^true", at) then
      return true, at + 4
    elseif code == 102 and find(text, "^false", at) then
      return false, at + 5
    elseif code == 110 and find(text, "^null", at) then
      return null, at + 4
    end
    local value, after = nil, nil
    if code and not TOKENS[code] then
      value, after = number_at(at)
    end
    if value == nil then
      expected("value", at)
    end
    return value, after
  end

  return function(source)
    text = source
    if #source >= 2 and find(source, "^%z") or find(source, "^.%z") then
      fail("JSON parser does not support UTF-16 or UTF-32")
    end
    local value, at = value_at(1, 0)
    at = skip(at)
    if at <= #source then
      expected("the end", at)
    end
    text = nil
    return value
  end, function()
    text = nil
  end
end

local new

local function instance(safe, shared, config)
  local module = { _NAME = "cjson", _VERSION = "2.1.0.11", null = null, array_mt = array_token,
    empty_array = empty_array, empty_array_mt = empty_array_token }
  local encode, forget_encoding = encoder(config)
  local decode, forget_decoding = decoder(config)

  local function result_of(ok, result)
    if ok then
      return result
    elseif type(result) == "table" and result.json then
      if safe then
        return nil, result.json
      end
      error(result.json, 3)
    end
    error(result, 0)
  end

  function module.encode(...)
    if select("#", ...) ~= 1 then
      argument_error(1, "encode", "expected 1 argument", 2)
    end
    local result, fault = result_of(convert(encode, (...)))
    if fault then
      return nil, fault
    end
    return result
  end

  function module.decode(...)
    if select("#", ...) ~= 1 then
      argument_error(1, "decode", "expected 1 argument", 2)
    end
    local source = ...
    local kind = type(source)
    if kind == "number" then
      source = source .. ""
    elseif kind ~= "string" then
      local problem = "string expected, got " .. kind
      if safe then
        return nil, "bad argument #1 to 'decode' (" .. problem .. ")"
      end
      argument_error(1, "decode", problem, 2)
    end
    local result, fault = result_of(convert(decode, source))
    if fault then
      return nil, fault
    end
    return result
  end

  -- A setting: called without a value it tells the current one.
  local function setting(name, key, check)
    module[name] = function(value)
      if value ~= nil then
        if shared then
          error("the settings of this cjson are shared by all scripts and can't be changed: use cjson.new()", 2)
        end
        local ok, converted = check(value)
        if not ok then
          argument_error(1, name, converted, 2)
        end
        config[key] = converted
        config.number_format = "%." .. config.precision .. "g"
        config.to_escape = config.escape_slash and '[%c"\\/]' or '[%c"\\]'
      end
      return config[key]
    end
  end

  local function boolean(value)
    if value == "on" or value == "off" then
      value = value == "on"
    end
    return type(value) == "boolean", type(value) == "boolean" and value or value == false and value
      or "boolean expected, got " .. type(value)
  end

  local function invalid_numbers(value)
    if value == "null" then
      return true, value
    end
    return boolean(value)
  end

  local function integer(lowest, highest)
    return function(value)
      value = tonumber(value)
      if not value or not (value >= lowest and value <= highest) then
        return false, "expected integer between " .. lowest .. " and " .. highest
      end
      return true, floor(value)
    end
  end

  local function truth(value)
    return true, value and true or false
  end

  setting("encode_max_depth", "encode_max_depth", integer(1, 2147483647))
  setting("decode_max_depth", "decode_max_depth", integer(1, 2147483647))
  setting("encode_number_precision", "precision", integer(1, 16))
  setting("encode_keep_buffer", "keep_buffer", boolean)
  setting("encode_invalid_numbers", "encode_invalid_numbers", invalid_numbers)
  setting("decode_invalid_numbers", "decode_invalid_numbers", boolean)
  setting("encode_empty_table_as_object", "empty_as_object", truth)
  setting("decode_array_with_array_mt", "array_with_mt", truth)
  setting("encode_escape_forward_slash", "escape_slash", truth)

  function module.encode_sparse_array(convert, ratio, safe_length)
    if convert ~= nil or ratio ~= nil or safe_length ~= nil then
      if shared then
        error("the settings of this cjson are shared by all scripts and can't be changed: use cjson.new()", 2)
      end
      for number, value in next, { [2] = ratio, [3] = safe_length } do
        if type(value) ~= "number" or not (value >= 0) then
          argument_error(number, "encode_sparse_array", "expected integer between 0 and 2147483647", 2)
        end
      end
      if convert ~= nil then
        config.sparse_convert = convert and true or false
      end
      config.sparse_ratio = ratio or config.sparse_ratio
      config.sparse_safe = safe_length or config.sparse_safe
    end
    return config.sparse_convert, config.sparse_ratio, config.sparse_safe
  end

  function module.new()
    return (new(safe, false))
  end

  return module, function()
    forget_encoding()
    forget_decoding()
  end
end

function new(safe, shared)
  local config = { to_escape = '[%c"\\/]' }
  for key, value in next, DEFAULTS do
    config[key] = value
  end
  if safe and shared then
    config.precision = KONG_PRECISION
  end
  config.number_format = "%." .. config.precision .. "g"
  return instance(safe, shared, config)
end

local cjson, forget = new(false, true)
local cjson_safe, forget_safe = new(true, true)

return {
  cjson = cjson, cjson_safe = cjson_safe,
  -- Lets go of what the instances were working on when an error ended that.
  forget = function()
    forget()
    forget_safe()
  end,
  array_mt = array_mt, empty_array = empty_array, lists = LISTS,
}
