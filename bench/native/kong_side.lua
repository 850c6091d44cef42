-- Kong's side of ProtoBuf:1 as far as the token-injection case needs it: one instance a worker, an event for each
-- request, an answer to each call of the PDK.

local byte, char, sub = string.byte, string.char, string.sub

local path, start_command, handle_event
local EMPTY = "\0\0\0\0"

local M = {}

local function length(data)
  local a, b, c, d = byte(data, 1, 4)
  return a + b * 256 + c * 65536 + d * 16777216
end

local function framed(content)
  local size = #content
  return char(size % 256, math.floor(size / 256) % 256, math.floor(size / 65536) % 256, 0) .. content
end

local function receive(sock)
  local size = length(assert(sock:receive(4)))
  return size == 0 and "" or assert(sock:receive(size))
end

local function varint(data, at)
  local number, factor = 0, 1
  while true do
    local b = byte(data, at)
    at = at + 1
    number = number + (b % 128) * factor
    if b < 128 then
      return number, at
    end
    factor = factor * 128
  end
end

-- The fields of a message whose fields are all varints or length-delimited.
local function fields(data)
  local at, found = 1, {}
  while at <= #data do
    local tag, content
    tag, at = varint(data, at)
    if tag % 8 == 0 then
      content, at = varint(data, at)
    else
      local size
      size, at = varint(data, at)
      content, at = sub(data, at, at + size - 1), at + size
    end
    found[(tag - tag % 8) / 8] = content
  end
  return found
end

local function as_varint(number)
  local out = ""
  while number > 127 do
    out = out .. char(number % 128 + 128)
    number = math.floor(number / 128)
  end
  return out .. char(number)
end

function M.configure(socket_path, start_file)
  path = "unix:" .. socket_path
  local file = assert(io.open(start_file, "rb"))
  start_command = file:read("*a")
  file:close()
end

-- Starts the instance of this worker and gives the command of an event.
local function started(sock)
  if not handle_event then
    assert(sock:send(start_command))
    local status = fields(fields(receive(sock))[33])
    local content = "\8" .. as_varint(status[2]) .. "\18\6access"
    handle_event = framed("\8\2\162\2" .. as_varint(#content) .. content)
  end
  return handle_event
end

local calls = {
  ["kong.service.request.set_header"] = function(data)
    local pair = fields(data)
    ngx.req.set_header(pair[1], fields(pair[2])[3])
  end,
}

function M.run()
  local sock = ngx.socket.tcp()
  assert(sock:connect(path))
  assert(sock:send(started(sock)))
  while true do
    local method = receive(sock)
    if method == "" then
      break
    end
    local argument = receive(sock)
    local call = calls[method]
    if call then
      call(argument)
    end
    assert(sock:send(EMPTY))
  end
  receive(sock)
  sock:setkeepalive(60000, 128)
end

return M
