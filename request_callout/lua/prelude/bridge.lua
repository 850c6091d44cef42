-- What Python calls: compile a source, run it for a proxied request, go on after a PDK call, read and write values.
--
-- A run is a coroutine. It ends with DONE, or yields CALL for the host to make a call, so no Lua frame stays on the
-- state while the host waits. Only numbers and strings are returned to Python: nothing that it would have to keep a
-- reference to, because making one while memory is short ends the process.

local values, limits, pdk, sandbox = ...

local raw_xpcall, raw_pcall, load, setfenv = limits.raw_xpcall, limits.raw_pcall, load, setfenv
local type, tostring = type, tostring
local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local rawget, rawset, select, concat, sub, unpack = rawget, rawset, select, table.concat, string.sub, unpack
local find = string.find
local arm, disarm, located, STOP, CALL = limits.arm, limits.disarm, limits.located, limits.STOP, limits.CALL
local charged, NO_MEMORY, SOURCE, null = limits.charged, limits.NO_MEMORY, limits.SOURCE, values.null
local globals, flush, pending = sandbox.globals, pdk.flush, pdk.pending
local set_any_metatable, pairs = debug.setmetatable, pairs

local DONE, CALLING, FAILED, STOPPED = 0, 1, 2, 3 -- as in state.py; DONE is also what a worker yields at its end
local MAX_IDLE = 32

local contexts, programs, runs = {}, {}, {}
local last_program, last_run = 0, 0

-- While an expression runs that reads a callout which was skipped, a member of nil is nil: it may ask for any part of
-- what is not there. Everywhere else that is an error, as in Kong.
local nothing_mt = { __index = function() return nil end, __metatable = false }
local is_forgiving = false

local function enter(run)
  local forgiving = run ~= nil and run.forgiving or false
  if forgiving ~= is_forgiving then
    is_forgiving = forgiving
    set_any_metatable(nil, forgiving and nothing_mt or nil)
  end
  pdk.enter(run)
end

local function context_of(id)
  local context = contexts[id]
  if not context then
    context = pdk.new_context()
    contexts[id] = context
  end
  return context
end

-- Compiling ------------------------------------------------------------------------------------------------------

-- Compiles a source alone, which shows its errors, and then as a function that makes closures of it: each run gets
-- a new closure with globals of its own.
local function factory(source, is_expression)
  if is_expression then
    -- Lua counts an error of the outermost operation to the line of the closing parenthesis.
    source = "return (" .. source .. (find(source, "--", 1, true) and "\n)" or ")")
  end
  local alone, message = load(source, SOURCE, "t")
  if not alone then
    return nil, message
  end
  return load("return function(...) " .. source .. "\nend", SOURCE, "t")
end

local function check(source, is_expression)
  local compiled, message = factory(source, is_expression)
  return not compiled and message or nil
end

-- A program is a list of literal texts and closures' factories. Takes pairs: the kind of a part ("text", "expression",
-- "isolated", "script"), with "_G" appended if it names _G, and its source.
local function compile(...)
  local program = {}
  for i = 1, select("#", ...), 2 do
    local kind, source = select(i, ...)
    local part = { kind = kind, text = source }
    if kind ~= "text" then
      part.is_expression = sub(kind, 1, 6) ~= "script"
      part.isolated = sub(kind, 1, 8) == "isolated"
      part.names_itself = sub(kind, -2) == "_G"
      local message
      part.factory, message = factory(source, part.is_expression)
      if not part.factory then
        return nil, message
      end
    end
    program[#program + 1] = part
  end
  last_program = last_program + 1
  programs[last_program] = program
  return last_program
end

local function release(id)
  programs[id] = nil
end

-- Running --------------------------------------------------------------------------------------------------------

local function evaluate(run, part)
  run.isolated, run.copy = part.isolated, nil
  -- On the closure, not on what makes it: that one stays, and would keep the last run's globals.
  local env = globals(part.is_expression, part.names_itself)
  run.globals = env
  if run.names and part.is_expression then
    for name, value in pairs(values.unpack(run.names)) do
      env[name] = value
    end
  end
  return setfenv(part.factory(), env)()
end

local function text(value)
  if value == nil or value == false or value == null then
    return ""
  elseif type(value) == "string" then
    return value
  end
  return tostring(value)
end

local function found(context, ...)
  local at = context.shared
  for i = 1, select("#", ...) do
    if type(at) ~= "table" then
      return nil
    end
    local key = select(i, ...)
    local below = rawget(at, key)
    if below == nil and i == 1 then
      below = context.values[key]
    end
    at = below
  end
  return at
end

local jobs = {
  script = function(run)
    evaluate(run, run.program[1])
    flush(run.context)
  end,
  render = function(run)
    local program = run.program
    if not program[2] then
      return text(evaluate(run, program[1]))
    end
    local pieces = {}
    for i = 1, #program do
      local part = program[i]
      pieces[i] = part.factory and text(evaluate(run, part)) or part.text
    end
    return concat(pieces)
  end,
  value = function(run)
    return values.pack((evaluate(run, run.program[1])))
  end,
  fetch = function(run)
    return values.pack((found(run.context, unpack(run.program))))
  end,
}

local idle, idle_count = {}, 0
local next_job, next_run

-- Takes what is to be done from the two variables above and ends with a tail call: a worker that waits for its next
-- run has nothing of the last one on its stack.
local function once()
  local job, run = next_job, next_run
  next_job, next_run = nil, nil
  return raw_xpcall(job, located, run)
end

local function worker()
  while true do
    yield(DONE, once())
  end
end

local function finished(run, limit, ok, tag, succeeded, result)
  if not ok then
    return limit and STOPPED or FAILED, limit or tostring(tag)
  elseif tag == CALL then
    last_run = last_run + 1
    runs[last_run] = run
    run.left = charged(run.left)
    local method, arguments = pending()
    return CALLING, method, arguments, last_run
  end
  if idle_count < MAX_IDLE then
    idle_count = idle_count + 1
    idle[idle_count] = run.worker
  end
  if limit or result == STOP or result == NO_MEMORY then
    return STOPPED, limit or "memory"
  elseif succeeded then
    return DONE, result
  end
  return FAILED, result
end

local function advanced(run, ...)
  local limit
  limit, run.left, run.nested = disarm()
  enter(nil)
  return finished(run, limit, ...)
end

local function begin(kind, context_id, program, instructions, seconds, names, forgiving)
  local co
  if idle_count > 0 then
    co = idle[idle_count]
    idle[idle_count] = nil
    idle_count = idle_count - 1
  else
    co = create(worker)
  end
  local run = {
    context = context_of(context_id),
    program = program,
    worker = co,
    readonly = kind ~= "script",
    names = names,
    forgiving = forgiving and kind ~= "script",
  }
  enter(run)
  arm(co, instructions, seconds, 0)
  next_job, next_run = jobs[kind], run
  return advanced(run, resume(co))
end

local function start(kind, context_id, program_id, instructions, seconds, names, forgiving)
  return begin(kind, context_id, programs[program_id], instructions, seconds, names, forgiving)
end

local function fetch(context_id, instructions, seconds, ...)
  return begin("fetch", context_id, { ... }, instructions, seconds)
end

local function take(run_id)
  local run = runs[run_id]
  runs[run_id] = nil
  enter(run)
  return run
end

-- Goes on with a run whose call gave a result, or a message of an error that the script may catch.
local function deliver(run_id, seconds, ok, result)
  local run = take(run_id)
  arm(run.worker, run.left, seconds, run.nested)
  if ok then
    local read
    read, result = raw_pcall(values.unpack, result)
    if not read then
      disarm()
      enter(nil)
      return result == NO_MEMORY and STOPPED or FAILED, result == NO_MEMORY and "memory" or tostring(result)
    end
  end
  return advanced(run, resume(run.worker, ok, result))
end

-- Forgets a run whose call ended the script.
local function abandon(run_id)
  runs[run_id] = nil
end

-- Values ---------------------------------------------------------------------------------------------------------

local function close(context_id)
  contexts[context_id] = nil
  values.forget()
end

local function derive(context_id, child_id)
  contexts[child_id] = pdk.child_context(context_of(context_id))
end

local function store(context_id, data, ...)
  local value = values.unpack(data)
  local at = context_of(context_id).shared
  local last = select("#", ...)
  for i = 1, last - 1 do
    local key = select(i, ...)
    local below = rawget(at, key)
    if type(below) ~= "table" then
      below = {}
      rawset(at, key, below)
    end
    at = below
  end
  rawset(at, (select(last, ...)), value)
end

-- Python reads its functions by name.
return function(name)
  return ({
    check = check,
    compile = compile,
    release = release,
    start = start,
    deliver = deliver,
    abandon = abandon,
    close = close,
    derive = derive,
    store = store,
    fetch = fetch,
  })[name]
end
