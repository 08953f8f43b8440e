-- What every script of a principal begins with. KEYS[1] lists its sessions: each field is the handle of
-- one, with when it joined last; `+` if a sign-in of it is done, or `!` once a revocation was there; and
-- a mark for each sign-in that is under way. What counts is what the session itself says. The list may
-- name some that are over, but none that is live is missing.
local key = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function joined(entry)
  return tonumber(string.match(entry, '^(%d+) ') or error({ err = 'CORRUPT a list holds no session' }))
end

-- Whether a sign-in is done, and the marks of those that are not.
local function parts(entry)
  local state, marks = '', {}
  for part in string.gmatch(entry or '', ' (%S+)') do
    if part == '+' or part == '!' then state = part else marks[#marks + 1] = part end
  end
  return state, marks
end

local function entry_of(at, state, marks)
  local words = { string.format('%.0f', at) }
  if state ~= '' then words[2] = state end
  for _, mark in ipairs(marks) do words[#words + 1] = mark end
  if #words == 1 then words[2] = '!' end
  return table.concat(words, ' ')
end

-- Takes a mark out; false if it was not there.
local function strike(marks, mark)
  for i, other in ipairs(marks) do
    if other == mark then
      table.remove(marks, i)
      return true
    end
  end
  return false
end

local function left(handle)
  return redis.call('HPTTL', key, 'FIELDS', 1, handle)[1]
end

local function replace(handle, entry)
  local lifetime = left(handle)
  redis.call('HSET', key, handle, entry)
  if lifetime > 0 then redis.call('HPEXPIRE', key, lifetime, 'FIELDS', 1, handle) end
end

local function live(handle)
  return left(handle) == -1 or left(handle) > 0
end
