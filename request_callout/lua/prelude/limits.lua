-- Limits that a script cannot swallow, and PDK calls that pass through a script's own coroutines.
--
-- One count hook stays set for the life of the state (a hook belongs to the state, not to a coroutine); it acts only
-- while a run is armed. Once it has raised STOP, whatever could catch an error raises STOP again, and so does the hook,
-- until the run is disarmed.

local raw_pcall, raw_xpcall, error, type, clock = pcall, xpcall, error, type, os.clock
local create, raw_resume, raw_yield = coroutine.create, coroutine.resume, coroutine.yield
local raw_running, status = coroutine.running, coroutine.status
local getinfo, sethook, traceback = debug.getinfo, debug.sethook, debug.traceback
local match, find, format = string.match, string.find, string.format
local huge, tostring, gcinfo = math.huge, tostring, gcinfo

-- The clock is read every thousand instructions; every two hundred once the state holds so much that there may be long
-- strings or big tables, of which a single instruction (a comparison, a concatenation) can take milliseconds.
local INTERVAL, CLOCK_INTERVALS = 200, 5
local LIGHT_KIB = 4096
local PRICE_OF_BYTE, PLENTY = 2, 2 ^ 40 -- see `convert`
local MAX_NESTED = 100 -- coroutines resumed inside one another: each takes some of the C stack
local STOP = {} -- the error value of a limit
local CALL = {} -- the first value of a yield that is a PDK call
local NO_MEMORY = "not enough memory"
local RATE = 10e6 -- instructions to a second of CPU time: far fewer than there are, so that only C functions show
local OVERFLOW, HANDLER_FAILED = "stack overflow", "error in error handling"
local OVERFLOW_PRICE, CATCH_PRICE = 100000, 500 -- in instructions
local SOURCE = "=line" -- the chunk name of all scripts, so that positions read line:N

local left, deadline, work_deadline = huge, huge, huge
local stopped -- which limit was hit: "instructions", "work", "time" or "memory"
local thread -- the coroutine in which the current run started
local nested = 0
local clock_in = 0 -- hooks until the clock is read

sethook(function()
  if left == huge then
    return
  end
  left = left - INTERVAL
  if left > 0 then
    clock_in = clock_in - 1
    if clock_in > 0 and gcinfo() < LIGHT_KIB then
      return
    end
    clock_in = CLOCK_INTERVALS
    local now = clock()
    if now > deadline then
      stopped = stopped or "time"
      left = 0
    elseif now > work_deadline then
      stopped = stopped or "work"
      left = 0
    end
  end
  if left <= 0 and raw_running() then -- on the main thread only the runtime itself runs, for a moment
    stopped = stopped or "instructions"
    error(STOP, 0)
  end
end, "", INTERVAL)

local function arm(co, instructions, seconds, nesting)
  thread = co
  nested = nesting
  stopped = nil
  local now = clock()
  deadline = now + seconds
  work_deadline = now + instructions / RATE
  left = instructions -- last: from here on the hook looks at the deadlines, which must not be those of the last run
end

-- Has the clock read at the next hook: after what may have taken long without showing in instructions or memory.
local function look_at_clock()
  clock_in = 0
end

-- The instructions that are left when a run waits, with its time in C functions taken off.
local function charged(instructions)
  local by_time = (work_deadline - clock()) * RATE
  return by_time < instructions and by_time or instructions
end

-- Ends the armed stretch; gives the limit that was hit, if any, and what to arm it with again.
local function disarm()
  local limit, rest, nesting = stopped, left, nested
  left, deadline, stopped, thread, nested = huge, huge, nil, nil, 0 -- work_deadline stays, for charged
  return limit, rest, nesting
end

-- Raises STOP again if the error that was caught is, or followed, a limit's. Else the catch has its price: unwinding
-- costs far more time than the instructions around it show, most of all after a stack overflow, and near the end of
-- the stack the hook cannot run (its own call overflows), so that a script could loop there for ever.
local function no_swallowing(err)
  if stopped or err == STOP or err == NO_MEMORY then
    stopped = stopped or "memory"
    error(STOP, 0)
  end
  local overflow = type(err) == "string" and (find(err, OVERFLOW, 1, true) or find(err, HANDLER_FAILED, 1, true))
  left = left - (overflow and OVERFLOW_PRICE or CATCH_PRICE)
  if left <= 0 then
    stopped = "instructions"
    error(STOP, 0)
  end
end

local function checked(ok, ...)
  if not ok or stopped then
    no_swallowing((...))
  end
  return ok, ...
end

local function pcall(f, ...)
  return checked(raw_pcall(f, ...))
end

local function paid(rest, ok, result)
  left = rest - (type(result) == "string" and #result * PRICE_OF_BYTE or 0)
  return ok, result
end

-- A protected call of a function that turns a text into a value or the other way round: it takes many instructions, but
-- in proportion to the text, and counts for the bytes of that. The clock goes on for it.
local function convert(f, value)
  local rest = left - (type(value) == "string" and #value * PRICE_OF_BYTE or 0)
  left = left + PLENTY
  return paid(rest, pcall(f, value))
end

local function traced(err)
  if stopped or err == STOP or err == NO_MEMORY then
    return err
  end
  return traceback(err, 2)
end

local function handled(handler, ok, ...)
  if ok then
    return true, ...
  end
  local succeeded, result = pcall(handler, (...))
  if succeeded then
    return false, result
  end
  return false, HANDLER_FAILED
end

-- A handler runs when the error has unwound the stack: where Lua would run it, it could make no PDK call, not even log.
-- Only a traceback would show the difference, so that one is taken where the error is.
local function xpcall(f, handler, ...)
  if handler == traceback then
    return checked(raw_xpcall(f, traced, ...))
  elseif type(handler) ~= "function" then
    return raw_xpcall(f, handler, ...)
  end
  return handled(handler, pcall(f, ...))
end

-- What a script's coroutine gave back; a PDK call is handed on outwards, and its result inwards.
local function passed(co, ok, first, ...)
  if ok and first == CALL then
    return passed(co, raw_resume(co, raw_yield(CALL)))
  end
  nested = nested - 1
  if not ok or stopped then
    no_swallowing(first)
  end
  return ok, first, ...
end

local function entered(co, ...)
  if nested >= MAX_NESTED then
    return false, "too many coroutines inside one another"
  end
  nested = nested + 1
  return passed(co, raw_resume(co, ...))
end

local function resume(co, ...)
  if type(co) ~= "thread" then
    error("bad argument #1 to 'resume' (coroutine expected)", 2)
  end
  return entered(co, ...)
end

local function unwrapped(ok, ...)
  if ok then
    return ...
  end
  error((...), 0)
end

local function wrap(f)
  local co = create(f)
  return function(...)
    return unwrapped(entered(co, ...))
  end
end

local function running()
  local co = raw_running()
  if co == thread then
    return nil -- as in Lua 5.1's main thread; no script may resume what the runtime resumes
  end
  return co
end

local function yield(...)
  if raw_running() == thread then
    error("attempt to yield from outside a coroutine", 2)
  end
  return raw_yield(...)
end

-- "line:N: " of the innermost script function that is running.
local function position()
  local level = 2
  while true do
    local info = getinfo(level, "Sl")
    if not info then
      return ""
    elseif info.source == SOURCE and info.currentline > 0 then
      return format("line:%d: ", info.currentline)
    end
    level = level + 1
  end
end

-- The message handler of every run: puts the script's line before messages that have none, or the prelude's.
local function located(err)
  if type(err) == "string" then
    if find(err, "^line:%d+: ") or err == NO_MEMORY then
      return err
    end
    return position() .. (match(err, "^[%w_]+%.lua:%d+: (.*)$") or err)
  elseif err == STOP then
    return err
  elseif type(err) == "number" then
    return tostring(err)
  end
  return position() .. "error object is a " .. type(err) .. " value"
end

return {
  STOP = STOP,
  CALL = CALL,
  NO_MEMORY = NO_MEMORY,
  SOURCE = SOURCE,
  arm = arm,
  convert = convert,
  look_at_clock = look_at_clock,
  charged = charged,
  disarm = disarm,
  position = position,
  located = located,
  pcall = pcall,
  xpcall = xpcall,
  raw_pcall = raw_pcall,
  raw_xpcall = raw_xpcall,
  coroutine = {
    create = create,
    resume = resume,
    running = running,
    status = status,
    wrap = wrap,
    yield = yield,
  },
}
