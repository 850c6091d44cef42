-- ngx.re: matches are found one by one by the engine in Python, the rest (iterating, replacing, calling back) is here.
--
-- The engine is asked with numbers and strings only: search(subject's handle, ...) answers where the match is as
-- first * 2^26 + length, -1 for none, -2 for too long, and span(n) so for a group of that match.

local host = ...
local pay, engine, look_at_clock = host.pay, host.engine, host.look_at_clock
local byte, find, format, match, sub = string.byte, string.find, string.format, string.match, host.settled.sub
local concat, error, floor, gmatch, setmetatable, tonumber, tostring, type = table.concat, error, math.floor,
  string.gmatch, setmetatable, tonumber, tostring, type

local SPAN = 2 ^ 26
local MAX_SUBJECT_BYTES = SPAN - 1
local MAX_PATTERN_BYTES, KEPT_PATTERN_BYTES = 4096, 512
local KEPT_SUBJECT_BYTES = 65536
local BYTES_PER_INSTRUCTION = 64
local COMPILING, GIVING_UP = 2000, 5000 -- what they count for, in instructions
local PCRE_ERROR_MATCHLIMIT, PCRE_ERROR_BADUTF8 = -47, -10
local OPTIONS = "adDijJmosuUx"

local re = {}

-- What is known of a pattern with its options: the number of groups and the named ones.
local compiled, compiled_count = {}, 0

local function check_options(options, level)
  if options == nil then
    return ""
  elseif type(options) ~= "string" then
    error("bad argument #3 (string expected, got " .. type(options) .. ")", level + 1)
  end
  for index = 1, #options do
    local option = sub(options, index, index)
    if not find(OPTIONS, option, 1, true) then
      error(format('unknown flag "%s" (flags "%s")', option, options), level + 1)
    end
  end
  return options
end

-- The program for a pattern, or nil and the engine's message.
local function compile(regex, options)
  local of_options = compiled[options]
  local program = of_options and of_options[regex]
  if program then
    return program
  end
  if #regex > MAX_PATTERN_BYTES then
    return nil, "pcre2_compile() failed: regular expression is too large in \"" .. sub(regex, 1, 64) .. "...\""
  end
  local described = engine.compile(regex, options)
  look_at_clock()
  pay(COMPILING)
  if not described then
    return nil, engine.problem()
  end
  program = { regex = regex, options = options, names = {}, utf8 = find(options, "[uU]") ~= nil,
    duplicates = find(options, "D", 1, true) ~= nil, first_only = find(options, "d", 1, true) ~= nil }
  program.groups = tonumber(match(described, "^%d+"))
  for number, name in gmatch(described, " (%d+):([^ ]+)") do
    program.names[#program.names + 1] = { number = tonumber(number), name = name }
  end
  -- Only short ones are kept here, so that all of them take little; the engine keeps them compiled by their weight.
  if #regex <= KEPT_PATTERN_BYTES then
    if compiled_count >= 256 then
      compiled, compiled_count = {}, 0
    end
    if not compiled[options] then
      compiled[options] = {}
    end
    compiled[options][regex] = program
    compiled_count = compiled_count + 1
  end
  return program
end

local current_subject

-- Finds the next match of `program` at or after byte `position` (from 0): first (from 1), last; or nil and a problem.
local function search(program, subject, position)
  if subject ~= current_subject then
    if #subject > MAX_SUBJECT_BYTES then
      return nil, "subject too long"
    end
    -- Not known while it changes: a limit may end the run in between.
    current_subject = nil
    engine.set_subject(subject)
    current_subject = subject
  end
  local length = #subject - position
  if length > 4096 then
    pay(length / BYTES_PER_INSTRUCTION)
  end
  local span = engine.search(program.regex, program.options, position)
  look_at_clock()
  if span == nil then
    return nil, "pcre_exec() failed: " .. engine.problem()
  elseif span == -1 then
    return nil
  elseif span < 0 then
    pay(GIVING_UP)
    return nil, "pcre_exec() failed: " .. (span == -2 and PCRE_ERROR_MATCHLIMIT or PCRE_ERROR_BADUTF8)
  end
  local start = floor(span / SPAN)
  return start + 1, start + span % SPAN
end

-- Lets go of a long subject, so that it does not take memory until the next call.
local function release()
  if current_subject and #current_subject > KEPT_SUBJECT_BYTES then
    current_subject = nil
    engine.set_subject("")
  end
end

local function collect(program, subject, first, last, result)
  result = result or {}
  result[0] = sub(subject, first, last)
  local groups = program.groups
  for number = 1, groups do
    if program.first_only then
      result[number] = false
    else
      local span = engine.span(number)
      if span and span >= 0 then
        local start = floor(span / SPAN)
        result[number] = sub(subject, start + 1, start + span % SPAN)
      else
        result[number] = false
      end
    end
  end
  local names = program.names
  for index = 1, #names do
    local named = names[index]
    local value = result[named.number]
    if not program.duplicates then
      result[named.name] = value
    elseif value then
      local list = result[named.name]
      if list then
        list[#list + 1] = value
      else
        result[named.name] = { value }
      end
    end
  end
  return result
end

-- After an empty match the search goes on one character later.
local function step(program, subject, position)
  position = position + 1
  if program.utf8 then
    while true do
      local code = byte(subject, position + 1)
      if not code or code < 0x80 or code > 0xBF then
        return position
      end
      position = position + 1
    end
  end
  return position
end

local function prepare(regex, options, level)
  local kind = type(regex)
  if kind == "number" then
    regex = regex .. ""
  elseif kind ~= "string" then
    error("bad argument #2 (string expected, got " .. kind .. ")", level + 1)
  end
  return compile(regex, check_options(options, level + 1))
end

local function start_of(context, level)
  if context == nil then
    return 0
  elseif type(context) ~= "table" then
    error("bad argument #4 (table expected, got " .. type(context) .. ")", level + 1)
  end
  local position = tonumber(context.pos)
  if not position or not (position > 0) then
    return 0
  end
  return floor(position) - 1
end

function re.match(subject, regex, options, context, result)
  subject = tostring(subject)
  local program, problem = prepare(regex, options, 2)
  if not program then
    return nil, problem
  end
  local position = start_of(context, 2)
  if result ~= nil and type(result) ~= "table" then
    error("bad argument #5 to 'match' (table expected, got " .. type(result) .. ")", 2)
  end
  if position > #subject then
    return nil
  end
  local first, last = search(program, subject, position)
  if not first then
    release()
    if last then
      return nil, last
    end
    return nil
  end
  if context then
    context.pos = last + 1
  end
  result = collect(program, subject, first, last, result)
  release()
  return result
end

function re.find(subject, regex, options, context, number)
  subject = tostring(subject)
  local program, problem = prepare(regex, options, 2)
  if not program then
    return nil, nil, problem
  end
  local position = start_of(context, 2)
  if position > #subject then
    return nil
  end
  local first, last = search(program, subject, position)
  if not first then
    release()
    if last then
      return nil, nil, last
    end
    return nil
  end
  if context then
    context.pos = last + 1
  end
  number = tonumber(number) or 0
  if number > 0 then
    if number > program.groups then
      return nil, nil, "nth out of bound"
    end
    local span = engine.span(number)
    if not span or span < 0 then
      return nil, nil
    end
    local start = floor(span / SPAN)
    first, last = start + 1, start + span % SPAN
  end
  release()
  return first, last
end

function re.gmatch(subject, regex, options)
  subject = tostring(subject)
  local program, problem = prepare(regex, options, 2)
  if not program then
    return nil, problem
  end
  local position = 0
  return function()
    if not position then
      return nil
    end
    local first, last = search(program, subject, position)
    if not first then
      position = nil
      release()
      if last then
        return nil, last
      end
      return nil
    end
    local result = collect(program, subject, first, last)
    position = last >= first and last or step(program, subject, last)
    if position > #subject then
      position = nil
      release()
    end
    return result
  end
end

-- A replacement template as a list of texts and numbers of groups, or nil where it is none.
local function template_of(text)
  local parts, count, at = {}, 0, 1
  while true do
    local mark = find(text, "$", at, true)
    if not mark or mark > at then
      count = count + 1
      parts[count] = sub(text, at, (mark or 0) - 1)
    end
    if not mark then
      return parts
    end
    local number, after = match(text, "^(%d+)()", mark + 1)
    if not number then
      number, after = match(text, "^{(%d+)}()", mark + 1)
    end
    count = count + 1
    if number then
      parts[count] = tonumber(number)
      at = after
    elseif byte(text, mark + 1) == 36 then
      parts[count] = "$"
      at = mark + 2
    else
      return nil
    end
  end
end

local function fill(parts, program, subject, first, last)
  local filled = {}
  for index = 1, #parts do
    local part = parts[index]
    if part == 0 then
      part = sub(subject, first, last)
    elseif type(part) == "number" then
      local span = part <= program.groups and not program.first_only and engine.span(part) or -1
      local start = floor(span / SPAN)
      part = span >= 0 and sub(subject, start + 1, start + span % SPAN) or ""
    end
    filled[index] = part
  end
  return concat(filled)
end

local function substitute(subject, regex, replacement, options, global, level)
  local program, problem = prepare(regex, options, level + 1)
  if not program then
    return nil, nil, problem
  end
  subject = tostring(subject)
  local parts
  if type(replacement) ~= "function" then
    parts = template_of(tostring(replacement))
    if not parts then
      return nil, nil, "failed to compile the replacement template"
    end
  end
  local pieces, piece_count, count, copied, position = {}, 0, 0, 0, 0
  repeat
    local first, last = search(program, subject, position)
    if not first then
      if last then
        release()
        return nil, nil, last
      end
      break
    end
    count = count + 1
    pieces[piece_count + 1] = sub(subject, copied + 1, first - 1)
    if parts then
      pieces[piece_count + 2] = #parts == 1 and type(parts[1]) == "string" and parts[1]
        or fill(parts, program, subject, first, last)
    else
      pieces[piece_count + 2] = tostring((replacement(collect(program, subject, first, last))))
    end
    piece_count = piece_count + 2
    copied = last
    position = last >= first and last or step(program, subject, last)
  until not global or position > #subject
  release()
  if count == 0 then
    return subject, 0
  end
  pieces[piece_count + 1] = sub(subject, copied + 1)
  return concat(pieces), count
end

function re.sub(subject, regex, replacement, options)
  local result, count, problem = substitute(subject, regex, replacement, options, false, 2)
  if problem then
    return nil, nil, problem
  end
  return result, count
end

function re.gsub(subject, regex, replacement, options)
  local result, count, problem = substitute(subject, regex, replacement, options, true, 2)
  if problem then
    return nil, nil, problem
  end
  return result, count
end

return re
