-- The token-injection case by hand: a POST over a kept-alive cosocket, the token into a header of the upstream request.

local host, port, request

local M = {}

function M.configure(address)
  host, port = address:match("^(.*):(%d+)$")
  port = tonumber(port)
  local body = '{"grant_type":"client_credentials","client_secret":"0123456789abcdef"}'
  request = "POST /token HTTP/1.1\r\nHost: " .. address .. "\r\nContent-Type: application/json\r\nContent-Length: "
    .. #body .. "\r\n\r\n" .. body
end

function M.run()
  local sock = ngx.socket.tcp()
  assert(sock:connect(host, port))
  assert(sock:send(request))
  local status = assert(sock:receive("*l"))
  assert(status:find(" 200 ", 1, true), status)
  local headers = {}
  while true do
    local line = assert(sock:receive("*l"))
    if line == "" then
      break
    end
    local name, value = line:match("^([^:]+):%s*(.*)$")
    headers[name:lower()] = value
  end
  local body = assert(sock:receive(tonumber(headers["content-length"])))
  sock:setkeepalive(60000, 128)
  -- Debian's nginx comes without a JSON library.
  local token = assert(body:match('"access_token": "([^"]*)"'))
  ngx.req.set_header("Authorization", "Bearer " .. token)
end

return M
