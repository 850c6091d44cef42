-- What scripts see of Kong: the kong table, ngx.var and ngx.log. Every call yields to the host with its name and
-- arguments, and goes on with the result.

local lib, values, limits = ...

local raw_yield, error, type, pairs, rawset = coroutine.yield, error, type, pairs, rawset
local setmetatable, tostring, select, gmatch, find = setmetatable, tostring, select, string.gmatch, string.find
local lower, match, gsub, rawget, unpack = string.lower, string.match, string.gsub, rawget, unpack
local CALL, position = limits.CALL, limits.position
local pack, pack_all, copy = values.pack, values.pack_all, values.copy

local current -- the run that is going on: { context, readonly, isolated }
local pending_method, pending_arguments -- the call that a yield of CALL is about

local function fail(message)
  error(position() .. message, 0)
end

local function received(ok, result)
  if ok then
    return result
  end
  return fail(result)
end

local function yield_call(method, arguments)
  pending_method, pending_arguments = method, arguments
  return received(raw_yield(CALL))
end

local function packed(method, pack_function, ...)
  local ok, result = limits.pcall(pack_function, ...)
  if not ok then
    fail(method .. ": " .. tostring(result))
  end
  return result
end

-- Sends the tables of kong.ctx.shared that were changed in place since Kong last saw them.
local function flush(context)
  local tracked = context.tracked
  if not tracked then
    return
  end
  local changed
  for key, before in pairs(tracked) do
    local now = packed("kong.ctx.shared." .. key, pack, context.values[key])
    if now ~= before then
      changed = changed or {}
      changed[key] = now
    end
  end
  if changed then
    for key, now in pairs(changed) do
      tracked[key] = now
      yield_call("kong.ctx.shared.set", packed("kong.ctx.shared", pack_all, key, context.values[key]))
    end
  end
end

local function call(method, ...)
  local context = current.context
  if context.tracked and not current.readonly then
    flush(context)
  end
  return yield_call(method, packed(method, pack_all, ...))
end

local function refuse(method)
  return function()
    return fail(method .. " would change something: an expression may only read (use by_lua)")
  end
end

-- By its name, does a PDK function change anything? kong.log.LEVEL does, but only the log.
local function is_write(path, name)
  if path == "kong.log" then
    return find(name, "^set_") ~= nil
  end
  return find(name, "^set") or find(name, "^add_") or find(name, "^clear_") or find(name, "^remove_")
    or find(name, "^enable_") or find(name, "^disable_") or find(name, "^authenticate") or find(name, "^invalidate")
    or name == "exit" or name == "error" and path == "kong.response"
end

local function pdk_function(path, name)
  local method = path .. "." .. name
  if is_write(path, name) then
    local refused = refuse(method)
    return function(...)
      if current.readonly then
        return refused()
      end
      return call(method, ...)
    end
  end
  return function(...)
    return call(method, ...)
  end
end

local function protected(path)
  return function(_, name)
    return fail("cannot modify " .. path .. "." .. tostring(name) .. ", it is protected by the sandbox")
  end
end

-- Names that are no functions in Kong's PDK, and that no protocol tells: nil, so that a script can find out.
local VALUES = {
  ["kong.version"] = true,
  ["kong.version_num"] = true,
  ["kong.pdk_major_version"] = true,
  ["kong.configuration"] = true,
}

-- Whether a name that this list does not know could be one of a newer PDK's. Others are nil, as in Kong: a name with a
-- dot in it would get around `is_write`, and long ones would be kept in memory where names are.
local MAX_NAME_BYTES, MAX_DOTS = 64, 3 -- as in kong.service.request.set_header

local function is_possible(path, name)
  return type(name) == "string" and #name <= MAX_NAME_BYTES and find(name, "^[%a_][%w_]*$") ~= nil
    and select(2, gsub(path, "%.", "")) < MAX_DOTS
end

-- A name that this list does not know: a namespace and a function at once, so that the host can say what is missing.
local function unknown(path, name)
  local full = path .. "." .. name
  local whole = pdk_function(path, name)
  return setmetatable({}, {
    __index = function(_, member)
      if is_possible(full, member) then
        return unknown(full, member)
      end
      return nil
    end,
    __newindex = protected(full),
    __call = function(_, ...)
      return whole(...)
    end,
    __metatable = false,
  })
end

local function namespace(path, members, extra)
  return setmetatable({}, {
    __index = function(_, name)
      local member = members[name]
      if member == nil and is_possible(path, name) then
        return unknown(path, name)
      end
      return member
    end,
    __newindex = protected(path),
    __call = extra,
    __metatable = false,
  })
end

-- The parts of a log line as text, as Kong would write them.
local function texts(...)
  local parts = { ... }
  for i = 1, select("#", ...) do
    parts[i] = tostring(parts[i])
  end
  return parts
end

local LEVELS = { "emerg", "alert", "crit", "err", "warn", "notice", "info", "debug" }

local function log(level, ...)
  local n = select("#", ...)
  if n == 0 then
    return call("kong.log." .. level, "") -- of nothing at all Kong makes an error on ProtoBuf
  end
  call("kong.log." .. level, unpack(texts(...), 1, n))
end

-- The functions of Kong's PDK that make sense outside it, so that they are functions for scripts too.
local KNOWN = [[
  kong.client.get_ip kong.client.get_forwarded_ip kong.client.get_port kong.client.get_forwarded_port
  kong.client.get_credential kong.client.load_consumer kong.client.get_consumer kong.client.authenticate
  kong.client.get_protocol kong.client.get_consumer_group kong.client.get_consumer_groups
  kong.ip.is_trusted
  kong.log.set_serialize_value kong.log.serialize
  kong.nginx.get_var kong.nginx.get_tls1_version_str kong.nginx.set_ctx kong.nginx.get_ctx kong.nginx.req_start_time
  kong.nginx.get_subsystem kong.nginx.get_statistics
  kong.node.get_id kong.node.get_hostname kong.node.get_memory_stats
  kong.plugin.get_id
  kong.request.get_scheme kong.request.get_host kong.request.get_port kong.request.get_forwarded_scheme
  kong.request.get_forwarded_host kong.request.get_forwarded_port kong.request.get_forwarded_path
  kong.request.get_forwarded_prefix kong.request.get_http_version kong.request.get_method kong.request.get_path
  kong.request.get_raw_path kong.request.get_path_with_query kong.request.get_raw_query kong.request.get_query_arg
  kong.request.get_query kong.request.get_header kong.request.get_headers kong.request.get_raw_body
  kong.request.get_body kong.request.get_start_time kong.request.get_uri_captures
  kong.response.get_status kong.response.get_header kong.response.get_headers kong.response.get_source
  kong.response.set_status kong.response.set_header kong.response.add_header kong.response.clear_header
  kong.response.set_headers kong.response.get_raw_body kong.response.set_raw_body kong.response.exit
  kong.response.error
  kong.router.get_route kong.router.get_service
  kong.service.set_upstream kong.service.set_target kong.service.set_retries kong.service.set_timeouts
  kong.service.set_tls_verify
  kong.service.request.set_scheme kong.service.request.set_path kong.service.request.set_raw_query
  kong.service.request.set_method kong.service.request.set_query kong.service.request.set_header
  kong.service.request.add_header kong.service.request.clear_header kong.service.request.set_headers
  kong.service.request.clear_query_arg kong.service.request.set_raw_body kong.service.request.set_body
  kong.service.request.enable_buffering kong.service.request.disable_tls
  kong.service.response.get_status kong.service.response.get_header kong.service.response.get_headers
  kong.service.response.get_raw_body kong.service.response.get_body
  kong.telemetry.log
  kong.vault.get kong.vault.is_reference kong.vault.parse_reference kong.vault.try kong.vault.update
]]

local tree = {} -- path -> members
for method in gmatch(KNOWN, "%S+") do
  local path, name = match(method, "^(.*)%.([^.]+)$")
  local at = path
  while not tree[at] do
    tree[at] = {}
    at = match(at, "^(.*)%.[^.]+$") or "kong"
  end
  tree[path][name] = pdk_function(path, name)
end

-- Beside the body, Kong gives why there is none, and the media type by which it was read.
local BODY_KINDS = {
  ["application/json"] = "invalid json body",
  ["application/x-www-form-urlencoded"] = "invalid form body",
  ["multipart/form-data"] = "invalid multipart body",
}

tree["kong.request"].get_body = function(media_type)
  media_type = media_type or call("kong.request.get_header", "content-type")
  if media_type == nil then
    return nil, "missing content type"
  end
  local body = call("kong.request.get_body", media_type)
  local kind = match(lower(tostring(media_type)), "^%s*([^;%s]*)")
  if body ~= nil then
    return body, nil, kind
  elseif BODY_KINDS[kind] then
    return nil, BODY_KINDS[kind], kind
  end
  return nil, "unsupported content type '" .. tostring(media_type) .. "'", media_type
end

local set_body = tree["kong.service.request"].set_body

tree["kong.service.request"].set_body = function(body, media_type)
  if media_type == nil and type(body) == "table" and not current.readonly then
    media_type = call("kong.request.get_header", "content-type")
    if media_type == nil then
      return nil, "content type was neither explicitly given as an argument or received as a header"
    end
  end
  return set_body(body, media_type)
end

local log_members = tree["kong.log"]
for i = 1, #LEVELS do
  local level = LEVELS[i]
  local sent_as = level == "emerg" and "alert" or level
  log_members[level] = function(...)
    return log(sent_as, ...)
  end
end

-- kong.ctx.shared: what the engine puts there is raw; all else is Kong's, read once and sent when it changes.
local shared_mt = {
  __index = function(_, key)
    local context = current.context
    local value = context.values[key]
    if value ~= nil or key == "callouts" or type(key) ~= "string" then
      return value
    end
    value = call("kong.ctx.shared.get", key)
    if value ~= nil then
      context.values[key] = value
      if type(value) == "table" then
        context.tracked = context.tracked or {}
        context.tracked[key] = pack(value)
      end
    end
    return value
  end,
  __newindex = function(shared, key, value)
    if current.readonly then
      return fail("kong.ctx.shared." .. tostring(key) .. " cannot be set in an expression (use by_lua)")
    elseif key == "callouts" then
      rawset(shared, key, value)
      return
    elseif type(key) ~= "string" then
      return fail("a key of kong.ctx.shared must be a string")
    end
    local context = current.context
    local arguments = packed("kong.ctx.shared." .. key, pack_all, key, value)
    context.values[key] = value
    if type(value) == "table" then
      context.tracked = context.tracked or {}
      context.tracked[key] = pack(value)
    elseif context.tracked then
      context.tracked[key] = nil
    end
    yield_call("kong.ctx.shared.set", arguments)
  end,
  __metatable = false,
}

local function new_context()
  return { shared = setmetatable({}, shared_mt), values = {} }
end

-- A context that is its parent, but for what is put into its `callouts`. What scripts add to these by new names is the
-- parent's.
local function child_context(parent)
  local callouts = rawget(parent.shared, "callouts")
  local own = setmetatable({}, { __index = callouts, __newindex = callouts, __metatable = false })
  local shared = setmetatable({ callouts = own }, shared_mt)
  return setmetatable({ shared = shared, inherited = callouts }, { __index = parent, __newindex = parent })
end

-- For an expression that might change tables: copies, so that nothing comes of it.
local function isolated(context)
  local shared = context.shared
  local callouts = copy(rawget(shared, "callouts"))
  for name, table_ in pairs(context.inherited or {}) do
    if callouts[name] == nil then
      callouts[name] = copy(table_)
    end
  end
  return setmetatable({ callouts = callouts }, {
    __index = function(_, key)
      return copy(shared[key])
    end,
    __newindex = shared_mt.__newindex,
    __metatable = false,
  })
end

local function shared()
  local run = current
  if run.isolated then
    run.copy = run.copy or isolated(run.context)
    return run.copy
  end
  return run.context.shared
end

local function plugin()
  local context = current.context
  context.plugin = context.plugin or {}
  return current.isolated and copy(context.plugin) or context.plugin
end

-- uri_captures by name and by number, from {named = {...}, unnamed = {...}}.
local function merged_captures(captures)
  local named, unnamed = captures.named, captures.unnamed
  if type(named) ~= "table" and type(unnamed) ~= "table" then
    return captures
  end
  local merged = {}
  for _, part in pairs({ unnamed or {}, named or {} }) do
    for key, value in pairs(part) do
      merged[key] = value
    end
  end
  return merged
end

local function shortcut(name)
  local run = current
  local context = run.context
  local table_ = context[name]
  if table_ == nil then
    table_ = yield_call(name, "") or {}
    if name == "uri_captures" then
      table_ = merged_captures(table_)
    end
    context[name] = table_
  end
  return run.isolated and copy(table_) or table_
end

local ctx = setmetatable({}, {
  __index = function(_, name)
    if name == "shared" then
      return shared()
    elseif name == "plugin" then
      return plugin()
    end
    return nil
  end,
  __newindex = protected("kong.ctx"),
  __metatable = false,
})

local function child_namespaces(path)
  local members = tree[path] or {}
  for other in pairs(tree) do
    local name = match(other, "^" .. gsub(path, "%.", "%%.") .. "%.([^.]+)$")
    if name then
      child_namespaces(other)
      members[name] = namespace(other, tree[other], other == "kong.log" and function(_, ...)
        return log("notice", ...)
      end or nil)
    end
  end
  tree[path] = members
end

child_namespaces("kong")
tree["kong"].ctx = ctx

local kong = namespace("kong", tree["kong"])

local ngx_log_levels = { [0] = "alert", "alert", "alert", "crit", "err", "warn", "notice", "info", "debug" }

local function read_only(path, members)
  return setmetatable({}, { __index = members, __newindex = protected(path), __metatable = false })
end

-- In an expression what ngx.re writes, into the tables of its last two arguments, goes into copies. (Where an expression
-- could see the difference it has a function, and all its tables are copies.)
local function without_effects(search)
  return function(subject, regex, options, context, result)
    if current.readonly and (context ~= nil or result ~= nil) then
      return search(subject, regex, options, copy(context), copy(result))
    end
    return search(subject, regex, options, context, result)
  end
end

local re = {}
for name, member in pairs(lib.ngx.re) do
  re[name] = member
end
re.match, re.find = without_effects(re.match), without_effects(re.find)

local ngx_members = { re = read_only("ngx.re", re) }
for name, member in pairs(lib.ngx) do
  ngx_members[name] = ngx_members[name] or type(member) == "table" and read_only("ngx." .. name, member) or member
end
for level, name in pairs({ [0] = "STDERR", "EMERG", "ALERT", "CRIT", "ERR", "WARN", "NOTICE", "INFO", "DEBUG" }) do
  ngx_members[name] = level
end
ngx_members.null = values.null
ngx_members.log = function(level, ...)
  return log(ngx_log_levels[level] or fail("bad log level"), ...)
end
ngx_members.var = setmetatable({}, {
  __index = function(_, name)
    return call("kong.nginx.get_var", tostring(name))
  end,
  __newindex = function(_, name)
    return fail("ngx.var." .. tostring(name) .. " cannot be set")
  end,
  __metatable = false,
})

return {
  kong = kong,
  ngx = read_only("ngx", ngx_members),
  read_only = read_only,
  shared = shared,
  shortcut = shortcut,
  globals = function()
    return current.globals
  end,
  flush = flush,
  new_context = new_context,
  child_context = child_context,
  enter = function(run)
    current = run
  end,
  pending = function()
    local method, arguments = pending_method, pending_arguments
    pending_method, pending_arguments = nil, nil
    return method, arguments
  end,
}
