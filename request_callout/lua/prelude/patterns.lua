-- Lua patterns, matched by Lua code: the same language as string.find's, in a form that an instruction hook can stop.
--
-- A pattern is a straight line of items, so which capture an item opens or closes is known before matching, and a
-- pattern is compiled to parallel arrays once. Faults of a pattern become items too: like the C library, a pattern
-- is only found to be malformed when matching reaches the fault.
--
-- compile(pattern, from) -> program; search(program, subject, init, anchored) -> first, last (captures by capture()).

local host = ...
local byte, find = string.byte, string.find
local char, sub = host.settled.char, host.settled.sub

local ONE, STAR, PLUS, LAZY, MAYBE = 1, 2, 3, 4, 5
local OPEN, HERE, CLOSE, BALANCE, FRONTIER, AGAIN, AT_END, FAULT, DONE = 6, 7, 8, 9, 10, 11, 12, 13, 14

local REPEAT = { [42] = STAR, [43] = PLUS, [45] = LAZY, [63] = MAYBE }
local MAX_CAPTURES = 32
local SHORT_RUN = 16
local SHORT_ITEM, KEPT_ITEM = 32, 200 -- bytes: C walks through an item at each byte of the subject

-- Bytes that one item of a pattern (`a`, `%d`, `[^x]`) stands for: asked of the C library, so they can't differ.
local sets, set_count = {}, 0
local NOTHING = {}

local function set_of(item)
  local set = sets[item]
  if set == nil then
    set = {}
    for code = 0, 255 do
      if find(char(code), item) then
        set[code] = true
      end
    end
    if #item <= KEPT_ITEM then
      if set_count >= 256 then
        sets, set_count = {}, 0
      end
      sets[item] = set
      set_count = set_count + 1
    end
  end
  return set
end

-- Where the item that starts at `at` ends (the index after it), or nil and what is wrong.
local function item_end(pattern, at)
  local code = byte(pattern, at)
  if code == 37 then
    if at + 1 > #pattern then
      return nil, "malformed pattern (ends with '%')"
    end
    return at + 2
  elseif code ~= 91 then
    return at + 1
  end
  at = at + 1
  if byte(pattern, at) == 94 then
    at = at + 1
  end
  repeat
    local inner = byte(pattern, at)
    if inner == nil then
      return nil, "malformed pattern (missing ']')"
    end
    at = at + 1
    if inner == 37 then
      if at > #pattern then
        return nil, "malformed pattern (missing ']')"
      end
      at = at + 1
    end
  until byte(pattern, at) == 93
  return at + 1
end

local function compile(pattern, from)
  local ops, args, texts, count = {}, {}, {}, 0
  local captures, open, positions, closed = 0, {}, {}, {}
  local at, stop = from, #pattern

  local function add(op, arg, text)
    count = count + 1
    ops[count], args[count], texts[count] = op, arg, text or false
  end

  while at <= stop do
    local code = byte(pattern, at)
    local after = code == 37 and byte(pattern, at + 1)
    if code == 40 then
      captures = captures + 1
      if captures > MAX_CAPTURES then
        add(FAULT, "too many captures")
        break
      end
      if byte(pattern, at + 1) == 41 then
        positions[captures] = true
        closed[captures] = true
        add(HERE, captures)
        at = at + 2
      else
        open[#open + 1] = captures
        add(OPEN, captures)
        at = at + 1
      end
    elseif code == 41 then
      local last = open[#open]
      if last == nil then
        add(FAULT, "invalid pattern capture")
        break
      end
      open[#open] = nil
      closed[last] = true
      add(CLOSE, last)
      at = at + 1
    elseif after == 98 then
      local opening, closing = byte(pattern, at + 2, at + 3)
      if (opening or 0) == 0 or (closing or 0) == 0 then
        add(FAULT, "unbalanced pattern")
        break
      end
      add(BALANCE, { opening, closing })
      at = at + 4
    elseif after == 102 then
      if byte(pattern, at + 2) ~= 91 then
        add(FAULT, "missing '[' after '%f' in pattern")
        break
      end
      local next_at, fault = item_end(pattern, at + 2)
      if not next_at then
        add(FAULT, fault)
        break
      end
      add(FRONTIER, set_of(sub(pattern, at + 2, next_at - 1)))
      at = next_at
    elseif after and after >= 48 and after <= 57 then
      local number = after - 48
      if not closed[number] then
        add(FAULT, "invalid capture index")
        break
      elseif positions[number] then
        add(ONE, NOTHING, "[^%z\1-\255]")
      else
        add(AGAIN, number)
      end
      at = at + 2
    elseif code == 36 and at == stop then
      add(AT_END)
      at = at + 1
    else
      local next_at, fault = item_end(pattern, at)
      if not next_at then
        add(FAULT, fault)
        break
      end
      local text = sub(pattern, at, next_at - 1)
      if text == "^" then
        text = "%^"
      elseif text == "$" or text == "(" or text == ")" then
        text = "%" .. text
      end
      local op = REPEAT[byte(pattern, next_at)]
      add(op or ONE, set_of(text), text)
      at = op and next_at + 1 or next_at
    end
  end
  add(DONE)

  -- A search can jump to where the first item fits, when that item has to match something.
  local first = 1
  while ops[first] == OPEN or ops[first] == HERE do
    first = first + 1
  end
  local jump = (ops[first] == ONE or ops[first] == PLUS) and #texts[first] <= SHORT_ITEM and texts[first] or nil
  return {
    ops = ops, args = args, texts = texts, count = count, captures = captures, positions = positions,
    unfinished = #open > 0, jump = jump, starts = {}, stops = {},
  }
end

-- How the work of matching grows with the subject's length n: n^power * factor for one start. A repetition at the
-- very end never has to give back what it took; every other one may be tried at each length.
local function growth(program)
  local ops = program.ops
  local power, factor = 0, 1
  local last = program.count - 1
  while ops[last] == CLOSE or ops[last] == HERE do
    last = last - 1
  end
  for index = 1, program.count do
    local op = ops[index]
    if op == BALANCE or op == AGAIN then
      power = power + 1
    elseif index ~= last and (op == STAR or op == PLUS or op == LAZY) then
      power = power + 1
    elseif index ~= last and op == MAYBE then
      factor = factor * 2
    end
  end
  return power, factor
end

local match

-- Where a run of bytes of `set` from `at` ends (the index after it); long runs are measured in C, in one pass.
local function run_end(subject, at, set, text)
  local limit = at + SHORT_RUN
  while set[byte(subject, at)] do
    at = at + 1
    if at == limit and #text <= SHORT_ITEM then
      local _, last = find(subject, "^" .. text .. "*", at)
      return last + 1
    end
  end
  return at
end

-- Gives back what a repetition took, byte by byte, until the rest matches.
local function give_back(program, subject, lowest, at, index)
  local follows = program.ops[index] == ONE and program.args[index]
  if follows then
    while at >= lowest do
      if follows[byte(subject, at)] then
        local stop = match(program, subject, at + 1, index + 1)
        if stop then
          return stop
        end
      end
      at = at - 1
    end
    return nil
  end
  while at >= lowest do
    local stop = match(program, subject, at, index)
    if stop then
      return stop
    end
    at = at - 1
  end
  return nil
end

local function balance_end(subject, at, pair)
  local opening, closing = pair[1], pair[2]
  if byte(subject, at) ~= opening then
    return nil
  end
  local depth = 1
  local code
  repeat
    at = at + 1
    code = byte(subject, at)
    if code == closing then
      depth = depth - 1
      if depth == 0 then
        return at + 1
      end
    elseif code == opening then
      depth = depth + 1
    end
  until code == nil
  return nil
end

-- Matches the items from `index` at `at`: the index after the match, or nil. Raises a table with the fault.
function match(program, subject, at, index)
  local ops, args = program.ops, program.args
  while true do
    local op = ops[index]
    if op == ONE then
      if not args[index][byte(subject, at)] then
        return nil
      end
      at = at + 1
    elseif op == DONE then
      return at
    elseif op == STAR then
      local stop = run_end(subject, at, args[index], program.texts[index])
      return give_back(program, subject, at, stop, index + 1)
    elseif op == PLUS then
      local stop = run_end(subject, at, args[index], program.texts[index])
      return give_back(program, subject, at + 1, stop, index + 1)
    elseif op == LAZY then
      local set = args[index]
      while true do
        local stop = match(program, subject, at, index + 1)
        if stop then
          return stop
        elseif not set[byte(subject, at)] then
          return nil
        end
        at = at + 1
      end
    elseif op == MAYBE then
      if args[index][byte(subject, at)] then
        local stop = match(program, subject, at + 1, index + 1)
        if stop then
          return stop
        end
      end
    elseif op == OPEN then
      program.starts[args[index]] = at
    elseif op == HERE then
      program.starts[args[index]] = at
    elseif op == CLOSE then
      program.stops[args[index]] = at
    elseif op == BALANCE then
      at = balance_end(subject, at, args[index])
      if not at then
        return nil
      end
    elseif op == FRONTIER then
      local set = args[index]
      if set[at > 1 and byte(subject, at - 1) or 0] or not set[byte(subject, at) or 0] then
        return nil
      end
    elseif op == AGAIN then
      local number = args[index]
      local text = sub(subject, program.starts[number], program.stops[number] - 1)
      if sub(subject, at, at + #text - 1) ~= text then
        return nil
      end
      at = at + #text
    elseif op == AT_END then
      if at ~= #subject + 1 then
        return nil
      end
    else
      error({ fault = args[index] }, 0)
    end
    index = index + 1
  end
end

-- The first match at or after `init`: its first and last index (last = first - 1 for an empty one), or nil.
local function search(program, subject, init, anchored)
  local jump = program.jump
  local length = #subject
  repeat
    if jump and not anchored then
      init = find(subject, jump, init)
      if not init then
        return nil
      end
    end
    local stop = match(program, subject, init, 1)
    if stop then
      if program.unfinished then
        error({ fault = "unfinished capture" }, 0)
      end
      return init, stop - 1
    end
    init = init + 1
  until init > length + 1 or anchored
  return nil
end

-- The value of a capture of the last match.
local function capture(program, subject, number)
  if program.positions[number] then
    return program.starts[number]
  end
  return sub(subject, program.starts[number], program.stops[number] - 1)
end

return { compile = compile, growth = growth, search = search, capture = capture }
