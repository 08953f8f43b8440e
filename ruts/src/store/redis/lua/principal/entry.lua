-- Reads and writes entries of a principal list.
--
-- needs: KEYS
-- defines: key, time, now, joined_at, parse_entry, format_entry, remove_mark, ttl_of,
--   replace_entry, is_listed
--
-- KEYS[1] is the list of the sessions of a principal. Each field is the id of a session. Its value
-- is the moment at which the session last joined; `+` after a completed sign-in, or `!` after a
-- revocation; and a mark for each sign-in in progress. The record of the session decides. The list
-- may name sessions that have ended, and never omits a live one.
local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function joined_at(entry)
  local moment = tonumber(string.match(entry, '^(%d+) '))
  return moment or error({ err = 'CORRUPT an entry of a principal list has an unknown format' })
end

-- Answers `+`, `!` or '', and the marks.
local function parse_entry(entry)
  local state, marks = '', {}
  for part in string.gmatch(entry or '', ' (%S+)') do
    if part == '+' or part == '!' then state = part else marks[#marks + 1] = part end
  end
  return state, marks
end

local function format_entry(moment, state, marks)
  local words = { string.format('%.0f', moment) }
  if state ~= '' then words[2] = state end
  for _, mark in ipairs(marks) do words[#words + 1] = mark end
  if #words == 1 then words[2] = '!' end
  return table.concat(words, ' ')
end

-- Answers whether the mark was there.
local function remove_mark(marks, mark)
  for i, other in ipairs(marks) do
    if other == mark then
      table.remove(marks, i)
      return true
    end
  end
  return false
end

local function ttl_of(id)
  return redis.call('HPTTL', key, 'FIELDS', 1, id)[1]
end

local function replace_entry(id, entry)
  local ttl = ttl_of(id)
  redis.call('HSET', key, id, entry)
  if ttl > 0 then redis.call('HPEXPIRE', key, ttl, 'FIELDS', 1, id) end
end

-- In the millisecond in which a field expires, the server still returns it.
local function is_listed(id)
  local ttl = ttl_of(id)
  return ttl == -1 or ttl > 0
end
