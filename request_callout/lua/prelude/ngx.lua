-- The functions and constants of `ngx` that scripts may use, but for `log` and `var`, which belong to a run.
--
-- They behave as lua-nginx-module's: its argument rules, its escaping, its messages.

local host = ...
local null, pay, argument_error = host.null, host.pay, host.argument_error
local byte, find, format, gsub = string.byte, string.find, string.format, string.gsub
local char, sub = host.settled.char, host.settled.sub
local concat, error, next, select, tonumber, tostring, type = table.concat, error, next, select, tonumber, tostring,
  type

local BYTES_PER_INSTRUCTION = 64
local DEFAULT_MAX_ARGS = 100

local ngx = {
  null = null,
  OK = 0, ERROR = -1, AGAIN = -2, DONE = -4, DECLINED = -5,
  STDERR = 0, EMERG = 1, ALERT = 2, CRIT = 3, ERR = 4, WARN = 5, NOTICE = 6, INFO = 7, DEBUG = 8,
  HTTP_GET = 2, HTTP_HEAD = 4, HTTP_POST = 8, HTTP_PUT = 16, HTTP_DELETE = 32, HTTP_MKCOL = 64, HTTP_COPY = 128,
  HTTP_MOVE = 256, HTTP_OPTIONS = 512, HTTP_PROPFIND = 1024, HTTP_PROPPATCH = 2048, HTTP_LOCK = 4096,
  HTTP_UNLOCK = 8192, HTTP_PATCH = 16384, HTTP_TRACE = 32768,
  HTTP_CONTINUE = 100, HTTP_SWITCHING_PROTOCOLS = 101,
  HTTP_OK = 200, HTTP_CREATED = 201, HTTP_ACCEPTED = 202, HTTP_NO_CONTENT = 204, HTTP_PARTIAL_CONTENT = 206,
  HTTP_SPECIAL_RESPONSE = 300, HTTP_MOVED_PERMANENTLY = 301, HTTP_MOVED_TEMPORARILY = 302, HTTP_SEE_OTHER = 303,
  HTTP_NOT_MODIFIED = 304, HTTP_TEMPORARY_REDIRECT = 307, HTTP_PERMANENT_REDIRECT = 308,
  HTTP_BAD_REQUEST = 400, HTTP_UNAUTHORIZED = 401, HTTP_PAYMENT_REQUIRED = 402, HTTP_FORBIDDEN = 403,
  HTTP_NOT_FOUND = 404, HTTP_NOT_ALLOWED = 405, HTTP_NOT_ACCEPTABLE = 406, HTTP_REQUEST_TIMEOUT = 408,
  HTTP_CONFLICT = 409, HTTP_GONE = 410, HTTP_UPGRADE_REQUIRED = 426, HTTP_TOO_MANY_REQUESTS = 429, HTTP_CLOSE = 444,
  HTTP_ILLEGAL = 451,
  HTTP_INTERNAL_SERVER_ERROR = 500, HTTP_NOT_IMPLEMENTED = 501, HTTP_METHOD_NOT_IMPLEMENTED = 501,
  HTTP_BAD_GATEWAY = 502, HTTP_SERVICE_UNAVAILABLE = 503, HTTP_GATEWAY_TIMEOUT = 504,
  HTTP_VERSION_NOT_SUPPORTED = 505, HTTP_INSUFFICIENT_STORAGE = 507,
}

-- What most of these functions do with their text: nil and false count as empty, other values as their tostring.
local function text_of(value)
  if type(value) ~= "string" then
    value = value and tostring(value) or ""
  end
  if #value > 4096 then
    pay(#value / BYTES_PER_INSTRUCTION)
  end
  return value
end

local function checked_string(value, number, name)
  local kind = type(value)
  if kind == "number" then
    return value .. ""
  elseif kind ~= "string" then
    argument_error(number, name, "string expected, got " .. kind, 3)
  end
  return text_of(value)
end

local PERCENT, BYTE = {}, {}
for code = 0, 255 do
  local hex = format("%02X", code)
  PERCENT[char(code)] = "%" .. hex
  BYTE[hex] = char(code)
end
setmetatable(BYTE, {
  __index = function(_, hex)
    return char(tonumber(hex, 16))
  end,
})

-- nginx's sets of bytes to escape, by the number of the type; 1 to 6 are there for completeness.
local TO_ESCAPE = {
  [0] = "[%z\1-\32#%%?\127-\255]",
  [1] = "[%z\1-\32#%%+?\127-\255]",
  [2] = "[^%w%-%._~!'%(%)%*]",
  [3] = "[%z\1-\32\"#%%'\127-\255]",
  [4] = "[%z\1-\32\"%%'\127-\255]",
  [5] = "[%z\1-\32%%]",
  [6] = "[%z\1-\32%%]",
}

local function escape(text, set)
  if find(text, set) then
    return (gsub(text, set, PERCENT))
  end
  return text
end

local function escape_component(text)
  return escape(text, TO_ESCAPE[2])
end

local function unescape(text)
  if find(text, "[%%+]") then
    text = gsub(gsub(text, "+", " "), "%%(%x%x)", BYTE)
  end
  return text
end

function ngx.escape_uri(text, kind)
  text = text_of(text)
  if kind == nil then
    kind = 2
  elseif type(kind) ~= "number" then
    error('"type" is not a number', 2)
  elseif not TO_ESCAPE[kind] then
    error('"type" ' .. kind .. " out of range", 2)
  end
  return escape(text, TO_ESCAPE[kind])
end

function ngx.unescape_uri(text)
  return unescape(text_of(text))
end

local function encoded_arg(parts, count, key, value)
  local kind = type(value)
  if kind == "boolean" then
    if not value then
      return count
    end
    parts[count + 1] = key
  elseif kind == "string" or kind == "number" then
    parts[count + 1] = key .. "=" .. escape_component(value .. "")
  else
    error("attempt to use " .. kind .. " as query arg value", 3)
  end
  return count + 1
end

function ngx.encode_args(...)
  local args = ...
  if select("#", ...) ~= 1 then
    error("expecting 1 argument but seen " .. select("#", ...), 2)
  elseif type(args) ~= "table" then
    argument_error(1, "encode_args", "table expected, got " .. type(args), 2)
  end
  local parts, count = {}, 0
  for key, value in next, args do
    if type(key) ~= "string" then
      error('attempt to use a non-string key in the "args" option table', 2)
    end
    key = escape_component(key)
    if type(value) == "table" then
      for _, item in next, value do
        count = encoded_arg(parts, count, key, item)
      end
    else
      count = encoded_arg(parts, count, key, value)
    end
  end
  return concat(parts, "&")
end

function ngx.decode_args(...)
  local given = select("#", ...)
  local text, max = ...
  if given ~= 1 and given ~= 2 then
    error("expecting 1 or 2 arguments but seen " .. given, 2)
  end
  text = checked_string(text, 1, "decode_args")
  if max == nil then
    max = DEFAULT_MAX_ARGS
  else
    max = tonumber(max)
    if not max then
      argument_error(2, "decode_args", "number expected, got " .. type((select(2, ...))), 2)
    end
  end

  local args, seen, at, length = {}, 0, 1, #text
  local equals = find(text, "=", 1, true) or length + 1
  while at <= length do
    local stop = find(text, "&", at, true) or length + 1
    if equals < at then
      equals = find(text, "=", at, true) or length + 1
    end
    local key, value
    if equals < stop then
      key, value = unescape(sub(text, at, equals - 1)), unescape(sub(text, equals + 1, stop - 1))
    else
      key, value = unescape(sub(text, at, stop - 1)), true
    end
    if key ~= "" then
      local old = args[key]
      if old == nil then
        args[key] = value
      elseif type(old) == "table" then
        old[#old + 1] = value
      else
        args[key] = { old, value }
      end
    end
    seen = seen + 1
    if seen == max and stop <= length then
      return args, "truncated"
    end
    at = stop + 1
  end
  return args
end

local SQL_ESCAPES = { ["\0"] = "\\0", ["\b"] = "\\b", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\26"] = "\\Z",
  ["\\"] = "\\\\", ["'"] = "\\'", ['"'] = '\\"' }

function ngx.quote_sql_str(...)
  if select("#", ...) ~= 1 then
    error("expecting one argument", 2)
  end
  return "'" .. gsub(checked_string(..., 1, "quote_sql_str"), "[%z\b\n\r\t\26\\'\"]", SQL_ESCAPES) .. "'"
end

function ngx.encode_base64(text, no_padding)
  text = text_of(text)
  if no_padding and no_padding ~= true then
    error("bad no_padding: boolean expected, got " .. type(no_padding), 2)
  end
  return host.encode_base64(text, no_padding and true or false)
end

function ngx.decode_base64(text)
  if type(text) ~= "string" then
    error("string argument only", 2)
  end
  return host.decode_base64(text_of(text))
end

function ngx.md5(text)
  return host.md5(text_of(text))
end

function ngx.md5_bin(text)
  return host.md5_bin(text_of(text))
end

function ngx.sha1_bin(text)
  return host.sha1_bin(text_of(text))
end

function ngx.crc32_short(text)
  return host.crc32(text_of(text))
end

ngx.crc32_long = ngx.crc32_short

function ngx.hmac_sha1(...)
  if select("#", ...) ~= 2 then
    error("expecting 2 arguments, but got " .. select("#", ...), 2)
  end
  local secret, text = ...
  return host.hmac_sha1(checked_string(secret, 1, "hmac_sha1"), checked_string(text, 2, "hmac_sha1"))
end

function ngx.now()
  return host.now()
end

function ngx.time()
  return host.time()
end

function ngx.update_time() end

function ngx.today()
  return sub(host.localtime(), 1, 10)
end

function ngx.localtime()
  return host.localtime()
end

function ngx.utctime()
  return host.utctime()
end

local function formatted_time(convert)
  return function(seconds)
    if type(seconds) ~= "number" then
      error("number argument only", 2)
    end
    return convert(seconds)
  end
end

ngx.http_time = formatted_time(host.http_time)
ngx.cookie_time = formatted_time(host.cookie_time)

function ngx.parse_http_time(text)
  if type(text) ~= "string" then
    error("string argument only", 2)
  end
  return host.parse_http_time(text)
end

return ngx
