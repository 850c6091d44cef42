-- LuaJIT's fast functions that make strings, in a form that survives running out of memory.
--
-- These functions are assembly that does not say where the stack ends before it allocates. If that fails, the error
-- message is written where the last C function left the end, which can be in the middle of a live frame: the process
-- crashes. A C function called just before, in the frame above, moves that mark out of the way. (`tostring` of a
-- number has the same fault; library.py gives numbers a metatable, which makes it take its C path.)

local char, lower, reverse, sub, upper = string.char, string.lower, string.reverse, string.sub, string.upper
local settle = gcinfo -- the cheapest function that is C

local settled = {}

function settled.char(...)
  settle(nil, nil, nil, nil, nil, nil)
  return char(...)
end

function settled.lower(text)
  settle(nil, nil, nil, nil, nil, nil)
  return lower(text)
end

function settled.reverse(text)
  settle(nil, nil, nil, nil, nil, nil)
  return reverse(text)
end

function settled.sub(text, first, last)
  settle(nil, nil, nil, nil, nil, nil)
  return sub(text, first, last or -1)
end

function settled.upper(text)
  settle(nil, nil, nil, nil, nil, nil)
  return upper(text)
end

return settled
