-- The sandbox's `string` and `table`: what C does in bounded time stays C; the rest is written here.
--
-- A C function can't be stopped by an instruction hook, and nothing called from it can yield. So callbacks (gsub's
-- function, sort's comparison) are called from Lua loops; a pattern that might take long on its subject goes to the
-- matcher in patterns.lua; and longer C work comes with an empty loop (`pay`), so that it counts as instructions.
-- A C function is called as a tail call where it may fail: its message then names the script's line, not one here.

local host = ...
local patterns = host.patterns
local byte, find, format, gmatch, gsub = string.byte, string.find, string.format, string.gmatch, string.gsub
local len, match, rep = string.len, string.match, string.rep
local settled = host.settled
local char, lower, reverse, sub, upper = settled.char, settled.lower, settled.reverse, settled.sub, settled.upper
local concat, insert, maxn, remove = table.concat, table.insert, table.maxn, table.remove
local getmetatable = debug.getmetatable
local error, floor, pcall, rawget, rawset, select, type = error, math.floor, pcall, rawget, rawset, select, type

local C_WORK_LIMIT = host.c_work_limit or 2 ^ 20 -- steps of the C matcher: a few milliseconds
local LONG_SUBJECT = 2 ^ 23 -- with a short pattern: some hundred milliseconds at the very worst
local PLAIN_WORK_LIMIT = 2 ^ 24 -- byte comparisons of a plain search: about the same
local MAX_PATTERN_BYTES, KEPT_PATTERN_BYTES = 32 * 1024, 200
local SHORT_PATTERN_BYTES = 16 -- each step of the C matcher looks at no more of the pattern than this, or is counted so
local MAX_REPEATED_BYTES = 16 * 1024 * 1024
local BYTES_PER_INSTRUCTION = 64

local function pay(work)
  for _ = 1, work do
  end
end

local function argument_error(number, name, problem, level)
  error("bad argument #" .. number .. " to '" .. name .. "' (" .. problem .. ")", level + 1)
end

local function string_argument(value, number, name)
  local kind = type(value)
  if kind == "string" then
    return value
  elseif kind == "number" then
    return value .. ""
  end
  argument_error(number, name, "string expected, got " .. (value == nil and "no value" or kind), 3)
end

-- A number as C makes an integer of it: cut off, and within 32 bits; NaN is the least one. So whatever a script
-- gives, comparisons with the result hold.
local LEAST, GREATEST = -2 ^ 31, 2 ^ 31 - 1

local function integer_argument(value, number, name)
  local kind = type(value)
  if kind == "string" then
    value = tonumber(value)
  end
  if type(value) ~= "number" then
    argument_error(number, name, "number expected, got " .. (value == nil and kind == "nil" and "no value" or kind), 3)
  elseif not (value > LEAST) then
    return LEAST
  elseif value >= GREATEST then
    return GREATEST
  end
  return value < 0 and -floor(-value) or floor(value)
end

-- Analysed patterns: how their work grows, and the program for the Lua matcher once it is needed.
local analysed, analysed_count = {}, 0

local function analyse(pattern)
  local known = analysed[pattern]
  if known then
    return known
  end
  local bytes = #pattern
  if bytes > MAX_PATTERN_BYTES then
    error("pattern too long (over " .. MAX_PATTERN_BYTES .. " bytes)", 3)
  end
  local anchored = byte(pattern, 1) == 94
  local program = patterns.compile(pattern, anchored and 2 or 1)
  local power, factor = patterns.growth(program)
  -- A literal or a set is walked through at each byte of the subject.
  if bytes > SHORT_PATTERN_BYTES then
    factor = factor * bytes / SHORT_PATTERN_BYTES
  end
  known = {
    anchored = anchored,
    program = program,
    power = anchored and power or power + 1,
    factor = factor,
    simple = power == 0 and factor == 1,
  }
  if bytes <= KEPT_PATTERN_BYTES then
    if analysed_count >= 256 then
      analysed, analysed_count = {}, 0
    end
    analysed[pattern] = known
    analysed_count = analysed_count + 1
  end
  return known
end

-- Whether C may match `pattern` against `length` bytes; long work that it may do is paid for here.
local function fits_c(known, length)
  if known.simple and C_WORK_LIMIT > 0 and length <= LONG_SUBJECT then
    if length > 4096 then
      pay(length / BYTES_PER_INSTRUCTION)
    end
    return true
  end
  local work = length ^ known.power * known.factor
  if not (work <= C_WORK_LIMIT) then
    return false
  elseif work > 4096 then
    pay(work / 1024)
  end
  return true
end

-- Runs the Lua matcher; a fault of the pattern is raised at `level` above the caller.
local function search(known, subject, init, level)
  local ok, first, last = pcall(patterns.search, known.program, subject, init, known.anchored)
  if ok then
    return first, last
  elseif type(first) == "table" and first.fault then
    error(first.fault, level + 1)
  end
  error(first, 0)
end

local function captures(known, subject, first, last, whole)
  local program = known.program
  local count = program.captures
  local capture = patterns.capture
  if count == 0 then
    if whole then
      return sub(subject, first, last)
    end
    return
  elseif count == 1 then
    return capture(program, subject, 1)
  elseif count == 2 then
    return capture(program, subject, 1), capture(program, subject, 2)
  end
  local values = {}
  for number = 1, count do
    values[number] = capture(program, subject, number)
  end
  return unpack(values, 1, count)
end

local function start_index(init, length)
  if init < 0 then
    init = length + init + 1
    return init < 1 and 1 or init
  elseif init < 1 then
    return 1
  end
  return init
end

local strings = {}

local function plain_find(subject, needle, init)
  local work = (#subject - init + 1) * #needle
  if not (work <= PLAIN_WORK_LIMIT) and #needle > 1 then
    local at = host.find_plain(subject, needle, init)
    pay(#subject / BYTES_PER_INSTRUCTION)
    if at then
      return at, at + #needle - 1
    end
    return nil
  end
  if work > 65536 then
    pay(work / 1024)
  end
  return find(subject, needle, init, true)
end

function strings.find(subject, pattern, init, plain)
  if type(subject) ~= "string" then
    subject = string_argument(subject, 1, "find")
  end
  if type(pattern) ~= "string" then
    pattern = string_argument(pattern, 2, "find")
  end
  local length = #subject
  if init == nil then
    init = 1
  else
    init = start_index(integer_argument(init, 3, "find"), length)
    if init > length + 1 then
      return nil
    end
  end
  if #pattern > 4096 then
    pay(#pattern / BYTES_PER_INSTRUCTION)
  end
  if plain or not find(pattern, "[%^%$%*%+%?%.%(%[%%%-]") then
    return plain_find(subject, pattern, init)
  end
  local known = analyse(pattern)
  if fits_c(known, length - init + 1) then
    return find(subject, pattern, init)
  end
  local first, last = search(known, subject, init, 2)
  if not first then
    return nil
  end
  return first, last, captures(known, subject, first, last, false)
end

function strings.match(subject, pattern, init)
  if type(subject) ~= "string" then
    subject = string_argument(subject, 1, "match")
  end
  if type(pattern) ~= "string" then
    pattern = string_argument(pattern, 2, "match")
  end
  local length = #subject
  if init == nil then
    init = 1
  else
    init = start_index(integer_argument(init, 3, "match"), length)
    if init > length + 1 then
      return nil
    end
  end
  local known = analyse(pattern)
  if fits_c(known, length - init + 1) then
    return match(subject, pattern, init)
  end
  local first, last = search(known, subject, init, 2)
  if not first then
    return nil
  end
  return captures(known, subject, first, last, true)
end

function strings.gmatch(subject, pattern)
  subject = string_argument(subject, 1, "gmatch")
  pattern = string_argument(pattern, 2, "gmatch")
  -- `^` is no anchor here but a plain character.
  local known = analyse(byte(pattern, 1) == 94 and "%" .. pattern or pattern)
  if fits_c(known, #subject) then
    return gmatch(subject, pattern)
  end
  local position = 1
  return function()
    if position > #subject + 1 then
      return nil
    end
    local first, last = search(known, subject, position, 2)
    if not first then
      position = #subject + 2
      return nil
    end
    position = last < first and first + 1 or last + 1
    return captures(known, subject, first, last, true)
  end
end

-- A replacement string as a list: texts, and the numbers of captures.
local function template_of(replacement)
  local parts, count, at = {}, 0, 1
  while true do
    local mark = find(replacement, "%", at, true)
    count = count + 1
    parts[count] = sub(replacement, at, (mark or 0) - 1)
    if not mark then
      return parts
    end
    local code = byte(replacement, mark + 1)
    count = count + 1
    if code and code >= 48 and code <= 57 then
      parts[count] = code - 48
    else
      parts[count] = code and char(code) or "\0"
    end
    at = mark + 2
  end
end

local function fill(parts, program, subject, first, last)
  local filled = {}
  for index = 1, #parts do
    local part = parts[index]
    if type(part) == "string" then
      filled[index] = part
    elseif part == 0 or (part == 1 and program.captures == 0) then
      filled[index] = sub(subject, first, last)
    elseif part > program.captures then
      error("invalid capture index", 3)
    else
      filled[index] = patterns.capture(program, subject, part)
    end
  end
  return concat(filled)
end

function strings.gsub(subject, pattern, replacement, limit)
  subject = string_argument(subject, 1, "gsub")
  pattern = string_argument(pattern, 2, "gsub")
  local kind = type(replacement)
  if kind == "number" then
    replacement, kind = replacement .. "", "string"
  elseif kind ~= "string" and kind ~= "table" and kind ~= "function" then
    argument_error(3, "gsub", "string/function/table expected, got " .. (kind == "nil" and "no value" or kind), 2)
  end
  local length = #subject
  if limit == nil then
    limit = length + 1
  else
    limit = integer_argument(limit, 4, "gsub")
  end
  local known = analyse(pattern)
  local in_c = fits_c(known, length)
  if in_c and kind == "string" then
    return gsub(subject, pattern, replacement, limit)
  end

  local program = known.program
  local parts = kind == "string" and template_of(replacement)
  local pieces, piece_count, count, copied, position = {}, 0, 0, 1, 1
  while count < limit and position <= length + 1 do
    local first, last = search(known, subject, position, 2)
    if not first then
      break
    end
    count = count + 1
    local value
    if parts then
      value = fill(parts, program, subject, first, last)
    elseif kind == "table" then
      value = replacement[(captures(known, subject, first, last, true))]
    else
      value = replacement(captures(known, subject, first, last, true))
    end
    if value then
      local value_kind = type(value)
      if value_kind ~= "string" and value_kind ~= "number" then
        error("invalid replacement value (a " .. value_kind .. ")", 2)
      end
      pieces[piece_count + 1] = sub(subject, copied, first - 1)
      pieces[piece_count + 2] = value
      piece_count = piece_count + 2
      copied = last + 1
    end
    position = last < first and first + 1 or last + 1
    if known.anchored then
      break
    end
  end
  if piece_count == 0 then
    return subject, count
  end
  pieces[piece_count + 1] = sub(subject, copied)
  return concat(pieces), count
end

function strings.rep(subject, count, separator)
  subject = string_argument(subject, 1, "rep")
  count = integer_argument(count, 2, "rep")
  separator = separator ~= nil and string_argument(separator, 3, "rep") or ""
  if count <= 0 then
    return ""
  elseif count == 1 then
    return subject
  end
  local size = (#subject + #separator) * count
  if size == 0 then
    return ""
  elseif size > MAX_REPEATED_BYTES then
    error("resulting string too large", 2)
  end
  if size > 65536 then
    pay(size / BYTES_PER_INSTRUCTION)
  end
  return rep(subject, count, separator)
end

local function whole_string(name, convert)
  return function(subject)
    if type(subject) ~= "string" then
      subject = string_argument(subject, 1, name)
    end
    if #subject > 4096 then
      pay(#subject / BYTES_PER_INSTRUCTION)
    end
    return convert(subject)
  end
end

strings.byte, strings.char, strings.format, strings.len, strings.sub = byte, char, format, len, sub
strings.lower = whole_string("lower", lower)
strings.upper = whole_string("upper", upper)
strings.reverse = whole_string("reverse", reverse)

local tables = { maxn = maxn }

-- The table of a function that changes it without regard to metatables: none that the sandbox protects.
local function changeable(value, name)
  if type(value) ~= "table" then
    argument_error(1, name, "table expected, got " .. (value == nil and "no value" or type(value)), 3)
  end
  local mt = getmetatable(value)
  if mt and mt.__newindex and mt.__metatable == false then
    error("bad argument #1 to '" .. name .. "' (this table is protected by the sandbox)", 3)
  end
  return value
end

function tables.concat(list, separator, from, to)
  if type(list) == "table" and #list > 256 then
    pay(#list / 8)
  end
  return concat(list, separator, from, to)
end

function tables.insert(list, ...)
  changeable(list, "insert")
  local given = select("#", ...)
  local position, value = ...
  if given == 1 then
    return insert(list, position)
  elseif given ~= 2 then
    error("wrong number of arguments to 'insert'", 2)
  end
  position = integer_argument(position, 2, "insert")
  local last = #list + 1
  if position >= 1 and position <= last then
    if last - position > 256 then
      pay((last - position) / 8)
    end
    return insert(list, position, value)
  end
  for index = last, position + 1, -1 do
    rawset(list, index, rawget(list, index - 1))
  end
  rawset(list, position, value)
end

function tables.remove(list, ...)
  changeable(list, "remove")
  local position = ...
  if position ~= nil then
    position = integer_argument(position, 2, "remove")
    if #list - position > 256 then
      pay((#list - position) / 8)
    end
  end
  return remove(list, ...)
end

-- Sorting by merging: the number of comparisons is bounded whatever the comparison answers, and it may yield.
local RUN = 6

local function sort_run(items, from, to, before)
  for index = from + 1, to do
    local item = items[index]
    local hole = index
    while hole > from and before(item, items[hole - 1]) do
      items[hole] = items[hole - 1]
      hole = hole - 1
    end
    items[hole] = item
  end
end

local function merge(source, target, from, middle, to, before)
  local left, right = from, middle + 1
  for index = from, to do
    if left <= middle and (right > to or not before(source[right], source[left])) then
      target[index] = source[left]
      left = left + 1
    else
      target[index] = source[right]
      right = right + 1
    end
  end
end

local function sorted(items, count, before)
  for from = 1, count, RUN do
    sort_run(items, from, from + RUN - 1 < count and from + RUN - 1 or count, before)
  end
  local width, spare = RUN, {}
  while width < count do
    for from = 1, count, 2 * width do
      local middle = from + width - 1
      local to = middle + width
      if middle > count then
        middle = count
      end
      merge(items, spare, from, middle, to > count and count or to, before)
    end
    items, spare = spare, items
    width = width * 2
  end
  return items
end

local function ascending(left, right)
  return left < right
end

function tables.sort(list, before)
  changeable(list, "sort")
  if before ~= nil and type(before) ~= "function" then
    argument_error(2, "sort", "function expected, got " .. type(before), 2)
  end
  local count = #list
  local items = {}
  for index = 1, count do
    items[index] = rawget(list, index)
  end
  if before then
    items = sorted(items, count, before)
  else
    local ok, result = pcall(sorted, items, count, ascending)
    if not ok then
      if type(result) == "string" and find(result, "attempt to compare", 1, true) then
        error(match(result, "attempt to compare.*"), 2)
      end
      error(result, 0)
    end
    items = result
  end
  for index = 1, count do
    rawset(list, index, items[index])
  end
end

return { string = strings, table = tables, pay = pay, argument_error = argument_error }
